// The whole native API on one page: plain pointers as integers, shapes checked by the Python callers.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include "attention/key_lists.h"
#include "attention/rows.h"
#include "attention/tree.h"
#include "device.h"
#include "isa.h"
#include "lattice/butterfly.h"
#include "sparsify/split.h"

namespace py = pybind11;
using interact::attention::View;
using interact::lattice::Matrix2;
namespace sparsify = interact::sparsify;
using Address = std::uintptr_t;

namespace {

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

template <class T>
void kronecker_cpu(Address src, Address dst, std::int64_t batch, int n, double a, double b, double c,
                   double d, int threads) {
  py::gil_scoped_release release;
  interact::lattice::kronecker_cpu<T>(pointer<T>(src), pointer<T>(dst), batch, n, Matrix2{a, b, c, d}, {},
                                      threads);
}

template <class T>
void kronecker_fused(Address src, Address dst, std::int64_t batch, int n, std::array<double, 4> m,
                     double scale, Address add, double add_scale, double threshold, bool zero_first,
                     bool from_first, Address orders, int threads) {
  py::gil_scoped_release release;
  interact::lattice::kronecker_cpu<T>(
      pointer<T>(src), pointer<T>(dst), batch, n, Matrix2{m[0], m[1], m[2], m[3]},
      {scale, pointer<T>(add), add_scale, threshold, zero_first, from_first, pointer<double>(orders)},
      threads);
}

// AND effects of s and OR effects of u, row by row.
template <class T>
void and_or_moebius(Address s, Address u, Address i_and, Address i_or, std::int64_t batch, int n,
                    int threads) {
  py::gil_scoped_release release;
  interact::lattice::Epilogue<T> negated;
  negated.scale = -1.0;
  negated.zero_first = true;
  interact::lattice::kronecker_pair_cpu<T>(pointer<T>(s), pointer<T>(i_and), Matrix2{1, 0, -1, 1}, {},
                                           pointer<T>(u), pointer<T>(i_or), Matrix2{0, 1, 1, -1}, negated,
                                           batch, n, threads);
}

using Strides = std::array<std::int64_t, 3>;

// q, k, v with their strides by entry, token and head; q_heads, kv_heads, size, value_size.
interact::attention::Tensors tensors(int storage, const std::array<Address, 4>& q_k_v_out,
                                     const std::array<Strides, 3>& strides,
                                     const std::array<std::int64_t, 4>& heads_and_sizes, float scale,
                                     float softcap, Address sinks) {
  const auto view = [&](int i) {
    return View{pointer<const void>(q_k_v_out[i]), strides[i][0], strides[i][1], strides[i][2]};
  };
  const auto [q_heads, kv_heads, size, value_size] = heads_and_sizes;
  return {interact::attention::Storage(storage),
          view(0),
          view(1),
          view(2),
          pointer<void>(q_k_v_out[3]),
          q_heads,
          kv_heads,
          size,
          value_size,
          scale,
          softcap,
          pointer<const float>(sinks)};
}

void tree_attention(int storage, std::array<Address, 4> q_k_v_out, std::array<Strides, 3> strides,
                    std::array<std::int64_t, 4> heads_and_sizes, float scale, float softcap, Address sinks,
                    std::array<Address, 5> tree, std::int64_t segments, std::int64_t keys,
                    std::int64_t queries, int threads) {
  py::gil_scoped_release release;
  const auto ints = [&](int i) { return pointer<const std::int64_t>(tree[i]); };
  interact::attention::tree_attention_cpu(
      {tensors(storage, q_k_v_out, strides, heads_and_sizes, scale, softcap, sinks),
       {segments, ints(0), ints(1), ints(2), ints(3), ints(4)},
       keys,
       queries},
      threads);
}

// All lists end to end, int32, and how many entries, words and blocks there are.
py::tuple key_lists(std::array<Address, 5> tree, std::int64_t segments, std::int64_t keys,
                    std::int64_t queries, std::int64_t tokens, std::int64_t tile) {
  const auto ints = [&](int i) { return pointer<const std::int64_t>(tree[i]); };
  interact::attention::KeyLists made;
  {
    py::gil_scoped_release release;
    made = interact::attention::key_lists({segments, ints(0), ints(1), ints(2), ints(3), ints(4)}, keys,
                                          queries, tokens, tile);
  }
  py::array_t<std::int32_t> packed(made.packed.size(), made.packed.data());
  return py::make_tuple(packed, made.entries, made.words, made.blocks);
}

// `who`: offsets, position, coalitions, player; 0 for none.
void row_attention(int storage, std::array<Address, 4> q_k_v_out, std::array<Strides, 3> strides,
                   std::array<std::int64_t, 4> heads_and_sizes, float scale, float softcap, Address sinks,
                   std::array<Address, 4> who, std::int64_t rows, std::int64_t length, bool causal,
                   std::int64_t window, int threads) {
  py::gil_scoped_release release;
  const auto ints = [&](int i) { return pointer<const std::int64_t>(who[i]); };
  interact::attention::row_attention_cpu(
      {tensors(storage, q_k_v_out, strides, heads_and_sizes, scale, softcap, sinks), rows, length, ints(0),
       ints(1), ints(2), ints(3), causal, window},
      threads);
}

sparsify::Splits splits(const std::vector<Address>& a) {
  return {pointer<double>(a[0]), pointer<double>(a[1]), pointer<double>(a[2]), pointer<double>(a[3]),
          pointer<std::int64_t>(a[4])};
}

void split_interior_point(Address v, Address bound, std::int64_t count, int n, bool soft, double ridge,
                          const std::vector<Address>& start, const std::vector<Address>& out, double rtol,
                          int max_iterations, double seconds, bool single_precision, bool polish,
                          int correctors, Address spotrf, Address dpotrf, int threads) {
  py::gil_scoped_release release;
  const sparsify::Lapack lapack{reinterpret_cast<sparsify::Lapack::Spotrf>(spotrf),
                                reinterpret_cast<sparsify::Lapack::Dpotrf>(dpotrf)};
  const sparsify::InteriorPointOptions options{
      {rtol, max_iterations, seconds}, single_precision, polish, correctors};
  const sparsify::Splits earlier = start.empty() ? sparsify::Splits{} : splits(start);
  sparsify::interior_point({pointer<double>(v), pointer<double>(bound), count, n, soft, ridge},
                           start.empty() ? nullptr : &earlier, splits(out), options, lapack, threads);
}

void hold_columns(Address v, Address bound, int n, bool soft, double ridge, const std::vector<Address>& held,
                  std::int64_t count, double decision, const std::vector<Address>& out, double rtol,
                  int max_iterations, double seconds, int correctors, Address spotrf, Address dpotrf,
                  int threads) {
  py::gil_scoped_release release;
  const sparsify::Lapack lapack{reinterpret_cast<sparsify::Lapack::Spotrf>(spotrf),
                                reinterpret_cast<sparsify::Lapack::Dpotrf>(dpotrf)};
  sparsify::hold_columns(
      {pointer<double>(v), pointer<double>(bound), 1, n, soft, ridge},
      {pointer<std::int64_t>(held[0]), pointer<std::int64_t>(held[1]), pointer<double>(held[2]), count},
      decision, splits(out), {{rtol, max_iterations, seconds}, true, false, correctors}, lapack, threads);
}

void split_admm(Address v, Address bound, std::int64_t count, int n, bool soft, double ridge,
                const std::vector<Address>& out, double rtol, int max_iterations, double seconds, double rho,
                int threads) {
  py::gil_scoped_release release;
  sparsify::admm({pointer<double>(v), pointer<double>(bound), count, n, soft, ridge}, splits(out),
                 {{rtol, max_iterations, seconds}, rho}, threads);
}

#ifdef INTERACT_WITH_CUDA
template <class T>
void kronecker_cuda(Address src, Address dst, std::int64_t batch, int n, double a, double b, double c,
                    double d, double scale, Address stream) {
  const int error = interact::lattice::kronecker_cuda<T>(pointer<T>(src), pointer<T>(dst), batch, n,
                                                         Matrix2{a, b, c, d}, scale, pointer<void>(stream));
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

// setup.py looks for it in the bytes of a library, to learn whether it has to be built again.
#ifdef INTERACT_BUILD_KEY
[[gnu::used]] const char build_key[] = INTERACT_BUILD_KEY;
#endif

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "Native kernels of interact_kernels.";
  module.def("cuda_architectures", &cuda_architectures,
             "Architectures compiled in, '' for a CPU-only build.");
  module.def("cuda_device_count", &cuda_device_count, "Usable CUDA devices, 0 without driver or CUDA build.");
  module.def("instruction_set", &interact::instruction_set, "What the CPU kernels use here.");
  module.def("use_instruction_set", &interact::use_instruction_set,
             "Use 'baseline', 'avx2', 'avx512' or 'auto'; False when the machine lacks it.");
  module.def("kronecker_f32", &kronecker_cpu<float>);
  module.def("kronecker_f64", &kronecker_cpu<double>);
  module.def("kronecker_fused_f32", &kronecker_fused<float>);
  module.def("kronecker_fused_f64", &kronecker_fused<double>);
  module.def("and_or_moebius_f32", &and_or_moebius<float>);
  module.def("and_or_moebius_f64", &and_or_moebius<double>);
  module.def("split_interior_point", &split_interior_point);
  module.def("hold_columns", &hold_columns);
  module.def("split_admm", &split_admm);
  module.def("tree_attention", &tree_attention);
  module.def("row_attention", &row_attention);
  module.def("key_lists", &key_lists);
#ifdef INTERACT_WITH_CUDA
  module.def("cuda_capability", &interact::cuda_capability, "Compute capability of a device, such as '9.0'.");
  module.def("cuda_loading_error", &interact::cuda_loading_error,
             "Why the kernels cannot be loaded on a device, or ''.");
  module.def("kronecker_cuda_f32", &kronecker_cuda<float>);
  module.def("kronecker_cuda_f64", &kronecker_cuda<double>);
#endif
}
