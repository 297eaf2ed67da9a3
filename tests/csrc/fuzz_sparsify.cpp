// The solvers of the AND-OR split on scores of every size: whatever they reach, what they return is a split.
#include "fuzz.h"
#include "sparsify/split.h"

using namespace interact::sparsify;

namespace {

// LAPACK's potrf: the lower or upper Cholesky factor of a column-major matrix, in place.
template <class T>
void potrf(char* side, int* order, T* a, int* stride, int* info) {
  const int n = *order;
  const auto at = [&](int i, int j) -> T& {
    return *side == 'L' ? a[i + std::int64_t{j} * *stride] : a[j + std::int64_t{i} * *stride];
  };
  *info = 0;
  for (int j = 0; j < n; ++j) {
    T pivot = at(j, j);
    for (int k = 0; k < j; ++k) pivot -= at(j, k) * at(j, k);
    if (!(pivot > 0)) {
      *info = j + 1;
      return;
    }
    at(j, j) = std::sqrt(pivot);
    for (int i = j + 1; i < n; ++i) {
      T sum = at(i, j);
      for (int k = 0; k < j; ++k) sum -= at(i, k) * at(j, k);
      at(i, j) = sum / at(j, j);
    }
  }
}

struct Out {
  std::vector<double> i_and, i_or, noise, y;
  std::vector<std::int64_t> iterations;

  Out(int count, std::size_t size)
      : i_and(count * size), i_or(count * size), noise(count * size), y(count * size), iterations(count) {}
  Splits splits() { return {i_and.data(), i_or.data(), noise.data(), y.data(), iterations.data()}; }
};

void check(const std::vector<double>& v, const std::vector<double>& delta, const Out& out, int count, int n,
           double scale) {
  const std::size_t size = std::size_t{1} << n;
  for (int row = 0; row < count; ++row)
    for (std::size_t s = 0; s < size; ++s) {
      double phi = v[row * size];
      for (std::size_t t = 1; t < size; ++t)
        phi += ((t & s) == t) * out.i_and[row * size + t] + ((t & s) != 0) * out.i_or[row * size + t];
      const double noise = out.noise[row * size + s];
      if (!std::isfinite(phi)) std::puts("The split is not finite."), std::abort();
      agree((phi - v[row * size + s] - noise) / scale, 0.0, 1e-6, "What the split leaves, of the scores,");
      agree(std::fmax(0.0, std::abs(noise) - delta[row]) / scale, 0.0, 1e-6, "Noise beyond its bound");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes in{data, size};
  instruction_set(in);
  const int count = in.in(1, 2), n = in.in(1, 4);
  const std::size_t values = std::size_t{1} << n;
  const double scale = std::pow(10.0, in.in(-6, 6));
  std::vector<double> v(count * values), delta(count);
  for (auto& value : v) value = scale * (in.flag() ? in.small() : in.in(-1, 1));
  double largest = 0;
  for (int row = 0; row < count; ++row) {
    double spread = 0;
    for (std::size_t i = 0; i < values; ++i)
      spread = std::fmax(spread, std::abs(v[row * values + i] - v[row * values]));
    delta[row] = in.flag() ? 0.0 : spread * in.in(1, 100) / 200.0;
    // As the callers do: where the noise may swallow everything, nothing is asked.
    if (spread <= delta[row])
      for (std::size_t i = 0; i < values; ++i) v[row * values + i] = 0;
    largest = std::fmax(largest, spread);
  }
  Out out(count, values), again(count, values);
  const Samples samples{v.data(), delta.data(), count, n};
  const Limits limits{std::pow(10.0, -in.in(2, 6)), in.in(1, 60), 0.5};
  const int threads = in.in(1, 2);
  if (in.flag()) {
    admm(samples, out.splits(), {limits, 1.0}, threads);
  } else {
    const InteriorPointOptions options{limits, in.flag(), in.flag(), in.in(0, 8)};
    const Lapack lapack{potrf<float>, potrf<double>};
    interior_point(samples, nullptr, out.splits(), options, lapack, threads);
    if (in.flag()) {
      const Splits start = out.splits();
      interior_point(samples, &start, again.splits(), options, lapack, threads);
      check(v, delta, again, count, n, largest > 0 ? largest : 1);
    }
  }
  check(v, delta, out, count, n, largest > 0 ? largest : 1);
  return 0;
}
