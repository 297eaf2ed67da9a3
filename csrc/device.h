// Questions about CUDA devices that need no CUDA header of the asker.
#pragma once
#include <string>

namespace interact {

int cuda_device_count();                  // 0 without a driver
std::string cuda_capability(int device);  // such as "9.0"
// Why this library's kernels cannot be loaded on a device, such as that it holds no code for it; or "".
std::string cuda_loading_error(int device);
const char* cuda_error_text(int error);

}  // namespace interact
