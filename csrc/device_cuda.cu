#include <cuda_runtime.h>

#include "device.h"

namespace interact {

namespace {

// Compiled like every other kernel of the library, so it can be loaded where they can.
__global__ void empty_kernel() {}

}  // namespace

int cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string cuda_capability(int device) {
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  return std::to_string(major) + "." + std::to_string(minor);
}

std::string cuda_loading_error(int device) {
  int before = 0;
  cudaError_t error = cudaGetDevice(&before);
  if (error == cudaSuccess) error = cudaSetDevice(device);
  cudaFuncAttributes attributes;
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, empty_kernel);
  if (before != device) cudaSetDevice(before);
  // The error is told here, so no later call shall meet it.
  cudaGetLastError();
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

const char* cuda_error_text(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

}  // namespace interact
