// The whole native API on one page: plain pointers as integers, shapes checked by the Python callers.
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "device.h"
#include "lattice/butterfly.h"

namespace py = pybind11;
using interact::lattice::Matrix2;

namespace {

template <class T>
void kronecker_cpu(std::uintptr_t x, std::int64_t batch, int n, double a, double b, double c, double d,
                   int threads) {
  py::gil_scoped_release release;
  interact::lattice::kronecker_cpu(reinterpret_cast<T*>(x), batch, n, Matrix2{a, b, c, d}, threads);
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
#ifdef INTERACT_WITH_CUDA
  module.def("kronecker_cuda_f32", &kronecker_cuda<float>);
  module.def("kronecker_cuda_f64", &kronecker_cuda<double>);
#endif
}
