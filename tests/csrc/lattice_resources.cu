// The lightest and the heaviest instance of each kernel, compiled for their registers and spills.
#include "lattice/butterfly_cuda.h"

namespace interact::lattice {

using Light = Op<float, Kind::moebius>;
using Heavy = Op<double, Kind::general>;

extern const void* const instances[];
const void* const instances[] = {
    reinterpret_cast<const void*>(&tile_kernel<float, Light>),
    reinterpret_cast<const void*>(&tile_kernel<double, Heavy>),
    reinterpret_cast<const void*>(&columns_kernel<float, Light>),
    reinterpret_cast<const void*>(&columns_kernel<double, Heavy>),
    reinterpret_cast<const void*>(&pass_kernel<double, Heavy>),
};

}  // namespace interact::lattice
