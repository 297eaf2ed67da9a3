// The Kronecker transforms with their epilogues, against the plain loop.
#include "fuzz.h"
#include "lattice/butterfly.h"

using namespace interact::lattice;

namespace {

std::vector<double> plain(std::vector<double> x, int n, Matrix2 m) {
  for (int level = 0; level < n; ++level)
    for (std::size_t i = 0; i < x.size(); ++i)
      if (!(i >> level & 1)) {
        const std::size_t j = i | std::size_t{1} << level;
        const double low = x[i], high = x[j];
        x[i] = m.a * low + m.b * high;
        x[j] = m.c * low + m.d * high;
      }
  return x;
}

template <class T>
void finish(std::vector<double>& y, const Epilogue<T>& e, int n, double* orders) {
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] *= e.scale;
    if (e.add) y[i] += e.add_scale * e.add[i];
    if (e.threshold > 0) y[i] = std::copysign(std::fmax(std::abs(y[i]) - e.threshold, 0.0), y[i]);
  }
  if (e.zero_first) y[0] = 0;
  for (std::size_t i = 0; orders && i < y.size(); ++i)
    orders[(y[i] < 0) * (n + 1) + __builtin_popcountll(i)] += y[i];
  const double first = y[0];
  for (auto& value : y)
    if (e.from_first) value = first - value;
}

template <class T>
void transform(Bytes& in) {
  const int batch = in.in(0, 3), n = in.flag() ? in.in(0, 6) : in.in(0, 14), threads = in.in(1, 3);
  const std::size_t size = std::size_t{1} << n;
  const double entries[] = {0, 1, -1, 0.5};
  const Matrix2 m{entries[in.in(0, 3)], entries[in.in(0, 3)], entries[in.in(0, 3)], entries[in.in(0, 3)]};
  std::vector<T> src(batch * size), add(batch * size), out(batch * size);
  std::vector<double> orders(batch * 2 * (n + 1));
  for (auto& value : src) value = in.small();
  for (auto& value : add) value = in.small();
  Epilogue<T> e;
  if (in.flag()) {
    e.scale = in.small();
    e.add = in.flag() ? add.data() : nullptr;
    e.add_scale = in.small();
    e.threshold = in.flag() ? std::abs(in.small()) : 0;
    e.zero_first = in.flag();
    e.orders = in.flag() ? orders.data() : nullptr;
    e.from_first = !e.orders && in.flag();
  }
  const bool in_place = in.flag();
  if (in_place) out = src;
  kronecker_cpu<T>(in_place ? out.data() : src.data(), out.data(), batch, n, m, e, threads);
  for (int row = 0; row < batch; ++row) {
    std::vector<double> x(src.begin() + row * size, src.begin() + (row + 1) * size), sums(2 * (n + 1));
    Epilogue<T> mine = e;
    if (e.add) mine.add += row * size;
    x = plain(x, n, m);
    double largest = 1;
    for (double value : x) largest = std::fmax(largest, std::abs(value));
    finish(x, mine, n, e.orders ? sums.data() : nullptr);
    const double tolerance = (sizeof(T) == 4 ? 1e-5 : 1e-12) * largest * 32;
    for (std::size_t i = 0; i < size; ++i) agree(out[row * size + i], x[i], tolerance, "A transformed value");
    for (std::size_t i = 0; e.orders && i < sums.size(); ++i)
      agree(orders[row * sums.size() + i], sums[i], tolerance * size, "A sum of an order");
  }
}

template <class T>
void pair(Bytes& in) {
  const int batch = in.in(0, 3), n = in.in(0, 13);
  const std::size_t size = batch * (std::size_t{1} << n);
  std::vector<T> x(size), z(size), y(size), w(size);
  for (auto& value : x) value = in.small();
  for (auto& value : z) value = in.small();
  const Matrix2 moebius{1, 0, -1, 1}, other{0, 1, 1, -1};
  kronecker_pair_cpu<T>(x.data(), y.data(), moebius, {}, z.data(), w.data(), other, {}, batch, n,
                        in.in(1, 3));
  std::vector<T> alone(size);
  kronecker_cpu<T>(x.data(), alone.data(), batch, n, moebius, {}, 1);
  for (std::size_t i = 0; i < size; ++i) agree(y[i], alone[i], 1e-6, "The first of a pair");
  kronecker_cpu<T>(z.data(), alone.data(), batch, n, other, {}, 1);
  for (std::size_t i = 0; i < size; ++i) agree(w[i], alone[i], 1e-6, "The second of a pair");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes in{data, size};
  instruction_set(in);
  switch (in.in(0, 3)) {
    case 0:
      transform<float>(in);
      break;
    case 1:
      transform<double>(in);
      break;
    case 2:
      pair<float>(in);
      break;
    default:
      pair<double>(in);
  }
  return 0;
}
