// The whole native API on one page: plain pointers as integers, shapes checked by the Python callers.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include "attention/tree.h"
#include "device.h"
#include "lattice/butterfly.h"
#include "sparsify/split.h"

namespace py = pybind11;
using interact::lattice::Matrix2;

namespace {

template <class T>
void kronecker_cpu(std::uintptr_t x, std::int64_t batch, int n, double a, double b, double c, double d,
                   int threads) {
  py::gil_scoped_release release;
  interact::lattice::kronecker_cpu(reinterpret_cast<T*>(x), batch, n, Matrix2{a, b, c, d}, threads);
}

using interact::attention::View;

View view(std::uintptr_t data, std::array<std::int64_t, 2> strides) {
  return {reinterpret_cast<const float*>(data), strides[0], strides[1]};
}

void tree_attention(std::uintptr_t q, std::array<std::int64_t, 2> q_strides, std::uintptr_t k,
                    std::array<std::int64_t, 2> k_strides, std::uintptr_t v,
                    std::array<std::int64_t, 2> v_strides, std::uintptr_t out,
                    std::array<std::uintptr_t, 5> tree, std::int64_t segments, std::int64_t keys,
                    std::int64_t queries, std::array<std::int64_t, 4> heads_and_sizes, float scale,
                    float softcap, std::uintptr_t sinks, int threads) {
  py::gil_scoped_release release;
  const auto ints = [&](int i) { return reinterpret_cast<const std::int64_t*>(tree[i]); };
  const auto [q_heads, kv_heads, size, value_size] = heads_and_sizes;
  interact::attention::tree_attention_cpu({view(q, q_strides),
                                           view(k, k_strides),
                                           view(v, v_strides),
                                           reinterpret_cast<float*>(out),
                                           {segments, ints(0), ints(1), ints(2), ints(3), ints(4)},
                                           keys,
                                           queries,
                                           q_heads,
                                           kv_heads,
                                           size,
                                           value_size,
                                           scale,
                                           softcap,
                                           reinterpret_cast<const float*>(sinks)},
                                          threads);
}

namespace sparsify = interact::sparsify;
using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

sparsify::Splits splits(const std::vector<Address>& a) {
  return {at<double>(a[0]), at<double>(a[1]), at<double>(a[2]), at<double>(a[3]), at<std::int64_t>(a[4])};
}

void split_interior_point(Address v, Address delta, std::int64_t count, int n,
                          const std::vector<Address>& start, const std::vector<Address>& out, double rtol,
                          int max_iterations, double seconds, bool single_precision, bool polish,
                          int correctors, Address spotrf, Address dpotrf, int threads) {
  py::gil_scoped_release release;
  const sparsify::Lapack lapack{reinterpret_cast<sparsify::Lapack::Spotrf>(spotrf),
                                reinterpret_cast<sparsify::Lapack::Dpotrf>(dpotrf)};
  const sparsify::InteriorPointOptions options{
      {rtol, max_iterations, seconds}, single_precision, polish, correctors};
  const sparsify::Splits earlier = start.empty() ? sparsify::Splits{} : splits(start);
  sparsify::interior_point({at<double>(v), at<double>(delta), count, n}, start.empty() ? nullptr : &earlier,
                           splits(out), options, lapack, threads);
}

void split_admm(Address v, Address delta, std::int64_t count, int n, const std::vector<Address>& out,
                double rtol, int max_iterations, double seconds, double rho, int threads) {
  py::gil_scoped_release release;
  sparsify::admm({at<double>(v), at<double>(delta), count, n}, splits(out),
                 {{rtol, max_iterations, seconds}, rho}, threads);
}

#ifdef INTERACT_WITH_CUDA
template <class T>
void kronecker_cuda(std::uintptr_t x, std::int64_t batch, int n, double a, double b, double c, double d,
                    std::uintptr_t stream) {
  const int error = interact::lattice::kronecker_cuda(reinterpret_cast<T*>(x), batch, n, Matrix2{a, b, c, d},
                                                      reinterpret_cast<void*>(stream));
  if (error)
    throw std::runtime_error(std::string("The CUDA butterfly failed: ") + interact::cuda_error_text(error) +
                             ".");
}
#endif

std::string cuda_architectures() {
#ifdef INTERACT_WITH_CUDA
  return INTERACT_WITH_CUDA;
#else
  return "";
#endif
}

int cuda_device_count() {
#ifdef INTERACT_WITH_CUDA
  return interact::cuda_device_count();
#else
  return 0;
#endif
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "Native kernels of interact_kernels.";
  module.def("cuda_architectures", &cuda_architectures,
             "Architectures compiled in, '' for a CPU-only build.");
  module.def("cuda_device_count", &cuda_device_count, "Usable CUDA devices, 0 without driver or CUDA build.");
  module.def("kronecker_f32", &kronecker_cpu<float>);
  module.def("kronecker_f64", &kronecker_cpu<double>);
  module.def("split_interior_point", &split_interior_point);
  module.def("split_admm", &split_admm);
  module.def("tree_attention", &tree_attention);
#ifdef INTERACT_WITH_CUDA
  module.def("kronecker_cuda_f32", &kronecker_cuda<float>);
  module.def("kronecker_cuda_f64", &kronecker_cuda<double>);
#endif
}
