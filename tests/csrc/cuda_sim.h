// Runs __global__ code on the CPU, so that a .cu file is tested where there is no device.
//
// Blocks run one after another. By default each CUDA thread is a fiber: a fiber runs until a barrier, the
// next one is taken in the order of SIM_ORDER (0: by number, 1: reversed, else the seed of a shuffle), and a
// barrier that nobody can leave is a deadlock, reported. With SIM_OS_THREADS each CUDA thread is an OS
// thread, for the thread and address sanitizers. Shared memory starts as NaN. Not covered: tensor cores,
// asynchronous copies, timing.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>
#ifdef SIM_OS_THREADS
#include <barrier>
#include <thread>
#else
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
using cudaStream_t = void*;
constexpr int cudaSuccess = 0, cudaMemcpyDeviceToDevice = 3;
inline int cudaGetLastError() { return cudaSuccess; }
inline int cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int, cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

namespace sim {

struct Thread;

#ifdef SIM_OS_THREADS
class Barrier {
 public:
  void reset(int count) { barrier_ = std::make_unique<std::barrier<>>(count); }
  void wait(Thread&) { barrier_->arrive_and_wait(); }
  void leave() { barrier_->arrive_and_drop(); }

 private:
  std::unique_ptr<std::barrier<>> barrier_;
};
#else
class Barrier {
 public:
  void reset(int count) { needed_ = count, here_ = 0, generation_ = 0; }
  void wait(Thread& thread);
  void leave() {
    --needed_;
    if (needed_ > 0 && here_ == needed_) open();
  }
  bool holds(unsigned generation) const { return generation == generation_; }

 private:
  void open() { here_ = 0, ++generation_; }
  int needed_ = 0, here_ = 0;
  unsigned generation_ = 0;
};
#endif

struct Warp {
  Barrier barrier;
  // Two slots a lane: a lane may write its next value while another still reads the last one.
  alignas(16) unsigned char slot[2][32][16];
};

struct Block {
  dim3 grid, size, index;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barrier;
  std::function<void()> body;
#ifndef SIM_OS_THREADS
  ucontext_t scheduler;
  int left = 0;  // threads still running
#endif
};

struct Thread {
  dim3 index;
  int number = 0;
  Block* block = nullptr;
  unsigned parity = 0;
#ifndef SIM_OS_THREADS
  ucontext_t context;
  std::vector<char> stack;
  Barrier* at = nullptr;
  unsigned generation = 0;
  bool done = false;
#endif
  Warp& warp() const { return block->warps[number / 32]; }
};

inline thread_local Thread* current = nullptr;

inline void finish(Thread& thread) {
  thread.block->barrier.leave();
  thread.warp().barrier.leave();
}

#ifdef SIM_OS_THREADS
inline void run(Block& block) {
  std::vector<std::thread> team;
  for (Thread& thread : block.threads)
    team.emplace_back([&block, &thread] {
      current = &thread;
      block.body();
      finish(thread);
    });
  for (auto& one : team) one.join();
}
#else
inline void yield(Thread& thread) { swapcontext(&thread.context, &thread.block->scheduler); }

inline void Barrier::wait(Thread& thread) {
  if (++here_ == needed_) return open();
  thread.at = this;
  thread.generation = generation_;
  yield(thread);
}

inline void fiber() {
  Thread& thread = *current;
  thread.block->body();
  thread.done = true;
  finish(thread);
  yield(thread);
}

inline std::vector<int> running_order(int count) {
  static const int wanted = std::getenv("SIM_ORDER") ? std::atoi(std::getenv("SIM_ORDER")) : 0;
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  if (wanted == 1) std::reverse(order.begin(), order.end());
  if (wanted > 1) {
    std::mt19937 generator(wanted);
    std::shuffle(order.begin(), order.end(), generator);
  }
  return order;
}

inline void run(Block& block) {
  block.left = static_cast<int>(block.threads.size());
  for (Thread& thread : block.threads) {
    thread.stack.resize(128 << 10);
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    makecontext(&thread.context, fiber, 0);
  }
  const std::vector<int> order = running_order(block.left);
  while (block.left) {
    bool moved = false;
    for (int number : order) {
      Thread& thread = block.threads[number];
      if (thread.done || (thread.at && thread.at->holds(thread.generation))) continue;
      thread.at = nullptr;
      moved = true;
      current = &thread;
      swapcontext(&block.scheduler, &thread.context);
      block.left -= thread.done;
    }
    if (!moved)
      throw std::runtime_error("deadlock: " + std::to_string(block.left) +
                               " threads wait at a barrier in block " + std::to_string(block.index.x));
  }
}
#endif

// Shared arrays are static: blocks run one after another, and each finds them full of NaN.
inline std::vector<std::pair<void*, std::size_t>>& shared_arrays() {
  static std::vector<std::pair<void*, std::size_t>> arrays;
  return arrays;
}

template <class A>
struct Shared {
  A* array;
  explicit Shared(A* a) : array(a) {
    shared_arrays().emplace_back(a, sizeof(A));
    std::memset(static_cast<void*>(a), 0xff, sizeof(A));
  }
};

template <class F>
void launch(dim3 grid, dim3 size, F body) {
  const unsigned count = size.x * size.y * size.z;
  if (count > 1024 || count == 0 || grid.x == 0) throw std::runtime_error("launch: impossible configuration");
  for (unsigned index = 0; index < grid.x; ++index) {
    for (auto& [array, bytes] : shared_arrays()) std::memset(array, 0xff, bytes);
    Block block;
    block.grid = grid, block.size = size, block.index = dim3(index), block.body = body;
    block.threads.resize(count);
    block.warps = std::vector<Warp>((count + 31) / 32);
    block.barrier.reset(static_cast<int>(count));
    for (unsigned i = 0; i < count; ++i) {
      block.threads[i].number = static_cast<int>(i);
      block.threads[i].block = &block;
      block.threads[i].index = dim3(i % size.x, i / size.x % size.y, i / size.x / size.y);
    }
    for (unsigned w = 0; w < block.warps.size(); ++w)
      block.warps[w].barrier.reset(static_cast<int>(std::min(32u, count - 32 * w)));
    run(block);
  }
}

template <class T>
T exchange(T value, int lane) {
  static_assert(sizeof(T) <= 16);
  Thread& me = *current;
  Warp& warp = me.warp();
  const unsigned side = me.parity ^= 1;
  std::memcpy(warp.slot[side][me.number & 31], &value, sizeof(T));
  warp.barrier.wait(me);
  std::memcpy(&value, warp.slot[side][lane & 31], sizeof(T));
  return value;
}

}  // namespace sim

#define threadIdx (sim::current->index)
#define blockIdx (sim::current->block->index)
#define blockDim (sim::current->block->size)
#define gridDim (sim::current->block->grid)
#define __shared__ static
#define INTERACT_SHARED(name) \
  [[maybe_unused]] static const sim::Shared<decltype(name)> name##_registered(&name)
#define INTERACT_LAUNCH(kernel, blocks, threads, stream, ...) \
  ((void)(stream), sim::launch(blocks, threads, [&] { kernel(__VA_ARGS__); }))

inline void __syncthreads() { sim::current->block->barrier.wait(*sim::current); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return sim::exchange(value, (sim::current->number & 31) ^ mask);
}
