// Every operation of every pack against the same operation on one number: same bits, special values included.
#include "pontryagin/pack.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include "check.hpp"

using namespace pontryagin;

namespace {

template <class T>
constexpr T nan_of = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();

template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0 || (a != a && b != b);
}

template <class T>
PMP_NOINLINE T value(int i) {
  const T list[] = {
      T(0),        -T(0),      T(1),         T(-1),        T(0.5),         T(-0.5),
      T(1.5),      T(-1.5),    T(2.5),       T(-2.5),      T(3.25),        T(-7.75),
      T(1) / T(3), T(1e10),    T(-1e30),     T(0.1),       infinity<T>,    -infinity<T>,
      nan_of<T>,   -nan_of<T>, T(8388609.5), T(-1e-3),     T(1) + T(1e-7), std::numeric_limits<T>::min(),
      T(0.25),     T(6),       T(-1) / T(3), T(1234.5678), T(-2),          std::numeric_limits<T>::denorm_min()};
  constexpr int size = sizeof(list) / sizeof(T);
  return list[((i % size) + size) % size];
}

template <class T>
T fused(T a, T b, T c) {
  return PMP_FMA ? std::fma(a, b, c) : a * b + c;
}
template <class T>
T minimum(T a, T b) {
  return a != a ? a : b != b ? b : b < a ? b : a;
}
template <class T>
T maximum(T a, T b) {
  return a != a ? a : b != b ? b : b > a ? b : a;
}

template <class T, int W>
struct Lanes {
  alignas(64) T at[W];
};

template <class T, int W>
void check_lanes(const char* what, Pack<T, W> result, const Lanes<T, W>& expected) {
  Lanes<T, W> lanes;
  result.store(lanes.at);
  for (int i = 0; i < W; ++i)
    CHECK(same(lanes.at[i], expected.at[i]), "%s, %d bytes, lane %d of %d: %a, expected %a", what, int(sizeof(T)), i, W,
          double(lanes.at[i]), double(expected.at[i]));
}

template <class T, int W>
void test_operations(int shift) {
  using P = Pack<T, W>;
  Lanes<T, W> x, y, z, expected;
  for (int i = 0; i < W; ++i)
    x.at[i] = value<T>(i + shift), y.at[i] = value<T>(7 * i + 3 * shift), z.at[i] = value<T>(11 * i);
  const P a = P::load(x.at), b = P::load(y.at), c = P::load(z.at);

#define EXPECT(pack, number)                                          \
  do {                                                                \
    for (int i = 0; i < W; ++i) {                                     \
      [[maybe_unused]] const T p = x.at[i], q = y.at[i], r = z.at[i]; \
      expected.at[i] = (number);                                      \
    }                                                                 \
    check_lanes<T, W>(#pack, (pack), expected);                       \
  } while (false)
#define EXPECT_MASK(mask, condition) EXPECT(select(mask, P(1), P(0)), T((condition) ? 1 : 0))

  EXPECT(a, p);
  EXPECT(P(T(-0.0)), T(-0.0));
  EXPECT(a + b, p + q);
  EXPECT(a - b, p - q);
  EXPECT(a * b, p * q);
  EXPECT(a / b, p / q);
  EXPECT(-a, -p);
  EXPECT(a * 2.5 + 1, p * T(2.5) + T(1));  // numbers become packs
  EXPECT(fma(a, b, c), fused(p, q, r));
  EXPECT(fms(a, b, c), fused(p, q, -r));
  EXPECT(fnma(a, b, c), fused(-p, q, r));
  EXPECT(sqrt(a), std::sqrt(p));
  EXPECT(abs(a), std::fabs(p));
  EXPECT(copysign(a, b), std::copysign(p, q));
  EXPECT(min(a, b), minimum(p, q));
  EXPECT(max(a, b), maximum(p, q));
  EXPECT(sign(a), T((p > 0) - (p < 0)));
  EXPECT(floor(a), std::floor(p));
  EXPECT(ceil(a), std::ceil(p));
  EXPECT(round(a), std::nearbyint(p));
  EXPECT(trunc(a), std::trunc(p));
  EXPECT_MASK(a < b, p < q);
  EXPECT_MASK(a <= b, p <= q);
  EXPECT_MASK(a > b, p > q);
  EXPECT_MASK(a >= b, p >= q);
  EXPECT_MASK(a == b, p == q);
  EXPECT_MASK(a != b, p != q);
  EXPECT_MASK((a < b) & (b < c), p < q && q < r);
  EXPECT_MASK((a < b) | (b < c), p < q || q < r);
  EXPECT_MASK(!(a < b), !(p < q));
  EXPECT(select(a < b, b, c), p < q ? q : r);
#undef EXPECT_MASK
#undef EXPECT
}

template <class T, int W>
void test_any_and_all_see_every_lane() {
  using P = Pack<T, W>;
  Lanes<T, W> lanes = {};
  CHECK(!any(P::load(lanes.at) != P(0)), "any of %d equal lanes", W);
  CHECK(all(P::load(lanes.at) == P(0)), "all of %d equal lanes", W);
  for (int i = 0; i < W; ++i) {
    lanes.at[i] = T(1);
    CHECK(any(P::load(lanes.at) != P(0)), "any misses lane %d of %d", i, W);
    CHECK(!all(P::load(lanes.at) == P(0)), "all misses lane %d of %d", i, W);
    lanes.at[i] = T(0);
  }
}

template <class T, int W>
void test_integer_lanes() {
  using Bits = typename Pack<T, W>::Bits;
  using U = typename Bits::Scalar;
  Lanes<U, W> x, result;
  for (int i = 0; i < W; ++i) x.at[i] = U(0x9e3779b97f4a7c15ull) * U(i + 1);
  const Bits a = Bits::load(x.at);
  ((((a << 3) ^ (a >> 5)) & (a + Bits(7))) | (a - Bits(1))).store(result.at);
  for (int i = 0; i < W; ++i) {
    const U p = x.at[i];
    CHECK(result.at[i] == U((((p << 3) ^ (p >> 5)) & U(p + 7)) | U(p - 1)), "integers, lane %d of %d", i, W);
  }
}

template <class T, int W>
void test_pack() {
  static_assert(sizeof(Pack<T, W>) == W * sizeof(T), "a pack is its lanes and nothing else");
  for (int shift = 0; shift < 30; ++shift) test_operations<T, W>(shift);
  test_any_and_all_see_every_lane<T, W>();
  test_integer_lanes<T, W>();
}

template <class T>
void test_packs() {
  test_pack<T, 1>();
  test_pack<T, 8>();
  test_pack<T, 16>();
  test_pack<T, 32>();
  test_pack<T, 64>();
}

}  // namespace

int main() {
  test_packs<double>();
  test_packs<float>();
  return report();
}
