// CUDA, or the simulator of it that the tests put in its place (INTERACT_SIM).
#pragma once
#ifdef INTERACT_SIM
#include "cuda_sim.h"
#else
#include <cuda_runtime.h>
#define INTERACT_SHARED(name)
#define INTERACT_LAUNCH(kernel, blocks, threads, stream, ...) \
  kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__)
#endif
