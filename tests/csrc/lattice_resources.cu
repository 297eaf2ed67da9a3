// The lightest and the heaviest instance of each kernel, compiled for their registers and spills.
#include "lattice/butterfly_cuda.h"

namespace interact::lattice {

using Light = Op<float, Kind::moebius>;
using Heavy = Op<double, Kind::general>;

template __global__ void tile_kernel(const float*, float*, std::int64_t, int, Light);
template __global__ void tile_kernel(const double*, double*, std::int64_t, int, Heavy);
template __global__ void columns_kernel(const float*, float*, std::int64_t, int, int, Light);
template __global__ void columns_kernel(const double*, double*, std::int64_t, int, int, Heavy);
template __global__ void pass_kernel(const double*, double*, std::int64_t, int, Heavy);

}  // namespace interact::lattice
