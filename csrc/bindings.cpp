// The whole native API on one page: plain pointers as integers, shapes checked by the Python callers.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>

#include "attention/tree.h"
#include "device.h"
#include "lattice/butterfly.h"

namespace py = pybind11;
using interact::lattice::Matrix2;

namespace {

template <class T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

template <class T>
void kronecker_cpu(std::uintptr_t src, std::uintptr_t dst, std::int64_t batch, int n, double a, double b,
                   double c, double d, int threads) {
  py::gil_scoped_release release;
  interact::lattice::kronecker_cpu<T>(pointer<T>(src), pointer<T>(dst), batch, n, Matrix2{a, b, c, d}, {},
                                      threads);
}

template <class T>
void kronecker_fused(std::uintptr_t src, std::uintptr_t dst, std::int64_t batch, int n,
                     std::array<double, 4> m, double scale, std::uintptr_t add, double add_scale,
                     double threshold, bool zero_first, bool from_first, std::uintptr_t orders, int threads) {
  py::gil_scoped_release release;
  interact::lattice::kronecker_cpu<T>(
      pointer<T>(src), pointer<T>(dst), batch, n, Matrix2{m[0], m[1], m[2], m[3]},
      {scale, pointer<T>(add), add_scale, threshold, zero_first, from_first, pointer<double>(orders)},
      threads);
}

// AND effects of s and OR effects of u, row by row.
template <class T>
void and_or_moebius(std::uintptr_t s, std::uintptr_t u, std::uintptr_t i_and, std::uintptr_t i_or,
                    std::int64_t batch, int n, int threads) {
  py::gil_scoped_release release;
  interact::lattice::Epilogue<T> negated;
  negated.scale = -1.0;
  negated.zero_first = true;
  interact::lattice::kronecker_pair_cpu<T>(pointer<T>(s), pointer<T>(i_and), Matrix2{1, 0, -1, 1}, {},
                                           pointer<T>(u), pointer<T>(i_or), Matrix2{0, 1, 1, -1}, negated,
                                           batch, n, threads);
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

#ifdef INTERACT_WITH_CUDA
template <class T>
void kronecker_cuda(std::uintptr_t src, std::uintptr_t dst, std::int64_t batch, int n, double a, double b,
                    double c, double d, std::uintptr_t stream) {
  const int error = interact::lattice::kronecker_cuda<T>(
      pointer<T>(src), pointer<T>(dst), batch, n, Matrix2{a, b, c, d}, reinterpret_cast<void*>(stream));
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
  module.def("instruction_set", &interact::lattice::instruction_set, "What the CPU transforms use here.");
  module.def("use_instruction_set", &interact::lattice::use_instruction_set,
             "Use 'baseline', 'avx2', 'avx512' or 'auto'; False when the machine lacks it.");
  module.def("kronecker_f32", &kronecker_cpu<float>);
  module.def("kronecker_f64", &kronecker_cpu<double>);
  module.def("kronecker_fused_f32", &kronecker_fused<float>);
  module.def("kronecker_fused_f64", &kronecker_fused<double>);
  module.def("and_or_moebius_f32", &and_or_moebius<float>);
  module.def("and_or_moebius_f64", &and_or_moebius<double>);
  module.def("tree_attention", &tree_attention);
#ifdef INTERACT_WITH_CUDA
  module.def("kronecker_cuda_f32", &kronecker_cuda<float>);
  module.def("kronecker_cuda_f64", &kronecker_cuda<double>);
#endif
}
