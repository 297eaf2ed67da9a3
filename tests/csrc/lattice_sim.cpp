// Runs the CUDA transforms in the simulator against a plain loop in double; exits 1 with a line on a
// mismatch.
#include <cstdio>

#include "lattice/butterfly_cuda.cu"

namespace {

using namespace interact::lattice;

// Memory of the wanted size exactly, `offset` values after an aligned start, poisoned with NaN.
template <class T>
struct Memory {
  std::size_t count;
  char* raw;
  T* at;
  Memory(std::size_t count_, int offset) : count(count_) {
    const std::size_t bytes = (count + offset) * sizeof(T);
    raw = static_cast<char*>(std::malloc(bytes ? bytes : 1));
    std::memset(raw, 0xff, bytes);
    at = reinterpret_cast<T*>(raw) + offset;
  }
  ~Memory() { std::free(raw); }
};

template <class T>
bool right(int n, std::int64_t batch, const Matrix2& m, bool in_place, int offset, unsigned most,
           double scale = 1) {
  const std::int64_t size = std::int64_t{1} << n, count = batch * size;
  Memory<T> x(count, offset), y(count, offset);
  std::vector<double> truth(count);
  std::mt19937 generator(static_cast<unsigned>(n + 7 * batch));
  for (std::int64_t i = 0; i < count; ++i) {
    x.at[i] = static_cast<T>(static_cast<int>(generator() % 9) - 4);
    truth[i] = x.at[i];
  }
  for (std::int64_t half = 1; half < size; half *= 2)
    for (std::int64_t i = 0; i < count; ++i)
      if (!(i & half)) {
        const double lo = truth[i], hi = truth[i + half];
        truth[i] = m.a * lo + m.b * hi;
        truth[i + half] = m.c * lo + m.d * hi;
      }
  if (n)
    for (double& value : truth) value *= scale;
  T* out = in_place ? x.at : y.at;
  kronecker_cuda_bounded<T>(x.at, out, batch, n, m, scale, nullptr, most);
  for (std::int64_t i = 0; i < count; ++i)
    if (!(std::abs(out[i] - truth[i]) <= 1e-5 * (1 + std::abs(truth[i])))) {
      std::printf("n=%d batch=%lld offset=%d most=%u in_place=%d: value %lld is %g, not %g\n", n,
                  static_cast<long long>(batch), offset, most, in_place, static_cast<long long>(i),
                  static_cast<double>(out[i]), truth[i]);
      return false;
    }
  return true;
}

}  // namespace

// Without an argument everything, with one a choice.
int main(int argc, char**) {
  const bool all = argc == 1;
  const Matrix2 matrices[] = {{1, 0, -1, 1}, {1, 0, 1, 1}, {1, -1, 0, 1}, {1, 1, 0, 1},
                              {0, 1, 1, -1}, {1, 1, 1, 0}, {1, 1, 1, -1}, {.5, .25, -1, .5}};
  const Matrix2 moebius = matrices[0], general = matrices[7];
  bool ok = right<float>(13, 1, moebius, true, 0, 1) && right<double>(9, 3, general, false, 0, 4);
  ok = ok && right<float>(5, 0, moebius, true, 0, 4) && right<float>(3, 3, moebius, false, 1, 2);
  ok = ok && right<float>(18, 1, general, false, 0, 8);
  for (const int n : {1, 5, 12, 14}) ok = ok && right<float>(n, 3, general, false, n == 1, 4, -1);
  for (const Matrix2& m : matrices) {
    ok = ok && right<float>(12, 2, m, true, 0, 1) && right<double>(13, 1, m, false, 0, 4);
    if (all)
      for (int n = 0; n <= 11; n += 3)
        ok = ok && right<float>(n, 5, m, false, 0, 4) && right<double>(n + 1, 2, m, true, 0, 4);
  }
  if (all)
    ok = ok && right<float>(19, 1, general, true, 0, 64) && right<float>(20, 1, moebius, false, 0, 7) &&
         right<float>(14, 3, moebius, false, 0, 64);
  std::puts(ok ? "all equal" : "MISMATCH");
  return ok ? 0 : 1;
}
