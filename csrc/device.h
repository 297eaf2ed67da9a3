// Questions about CUDA devices that need no CUDA header of the asker.
#pragma once

namespace interact {

int cuda_device_count();  // 0 without a driver
const char* cuda_error_text(int error);

}  // namespace interact
