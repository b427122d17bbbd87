// Every function against the C library in long double: error in units in the last place, special values, and the bits
// of a lane for every width and every neighbour.
#include "pontryagin/math.hpp"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "check.hpp"

using namespace pontryagin;

namespace {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T nan_of = std::numeric_limits<T>::quiet_NaN();

std::uint64_t state = 0x9e3779b97f4a7c15ull;
std::uint64_t random_bits() {  // splitmix64 (Steele, Lea, Flood 2014)
  std::uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
double uniform(double low, double high) { return low + (high - low) * (double(random_bits() >> 11) * 0x1p-53); }

template <class T>
T any_number() {
  const auto bits = random_bits();
  T x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0 || (a != a && b != b);
}

// |computed - exact| in units of the last place of T at the exact value.
template <class T>
double ulps(T computed, long double exact) {
  using Limits = std::numeric_limits<T>;
  if (exact != exact || computed != computed) return (exact != exact) == (computed != computed) ? 0.0 : 1e300;
  const long double overflow = std::ldexp(1.0L, Limits::max_exponent);
  if (std::isinf(computed)) {
    if ((computed > 0) != (exact > 0)) return 1e300;
    if (std::isinf(exact)) return 0.0;
    computed = 0;
    exact = overflow - std::fabs(exact);
    if (exact <= 0) return 0.0;
    return double(exact / std::ldexp(1.0L, Limits::max_exponent - Limits::digits));
  }
  if (std::isinf(exact)) exact = std::copysign(overflow, exact);
  int exponent = 0;
  std::frexp(exact, &exponent);
  if (exact == 0 || exponent < Limits::min_exponent) exponent = Limits::min_exponent;
  if (exponent > Limits::max_exponent) exponent = Limits::max_exponent;
  return double(std::fabs((long double)computed - exact) / std::ldexp(1.0L, exponent - Limits::digits));
}

// Left out is 0x1.6ac5b262ca1ffp+849, the double nearest to an odd multiple of pi/2: there cos goes to the C library,
// and that of glibc 2.36 is 8 units off. Numbers that functions get wrong: zeros, the ends of the range, neighbours of
// simple numbers and of multiples of pi.
template <class T>
std::vector<T> special_numbers() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> list = {T(0),
                         infinity<T>,
                         nan_of<T>,
                         Limits::min(),
                         Limits::max(),
                         Limits::denorm_min(),
                         std::nextafter(Limits::min(), T(0)),
                         T(1e-30),
                         T(1e30),
                         T(5.522e300 > Limits::max() ? 1e38 : 5.522e300),
                         T(16367173.0 * 0x1p72),
                         T(1e9),
                         T(1.6e6),
                         T(30000),
                         T(6000),
                         T(88.72283),
                         T(-87.33654),
                         T(-103.97),
                         T(709.782712893384),
                         T(-745.1332),
                         T(-708.3964)};
  for (const double x : {0.25, 0.414213562373095, 0.5, 0.625, 0.70710678118654752, 1.0, 1.41421356237309505, 2.0, 3.0,
                         10.0, 22.0, 1024.0, 0x1p24, 0x1p53}) {
    list.push_back(T(x));
    list.push_back(std::nextafter(T(x), T(0)));
    list.push_back(std::nextafter(T(x), T(1e30)));
  }
  for (int k = 1; k < 60; ++k) {
    list.push_back(T(k * 0.78539816339744831));
    list.push_back(std::nextafter(list.back(), T(0)));
  }
  for (std::size_t i = 0, n = list.size(); i < n; ++i) list.push_back(-list[i]);
  return list;
}

template <class T>
std::vector<T> numbers(int count) {
  std::vector<T> list = special_numbers<T>();
  for (int i = 0; i < count; ++i) {
    list.push_back(T(uniform(-4.0, 4.0)));
    list.push_back(T(uniform(-1.0, 1.0)));
    list.push_back(T(uniform(-100.0, 100.0)));
    list.push_back(T(uniform(-760.0, 760.0)));
    list.push_back(T(1.0 + uniform(-0.01, 0.01)));
    list.push_back(any_number<T>());
    list.push_back(T(std::floor(uniform(0.0, 3e4)) * 1.57079632679489661923L));  // sin or cos is nearly zero
    list.push_back(T(std::floor(uniform(0.0, 6e8)) * 1.57079632679489661923L));
  }
  return list;
}

// The width of the interpreter; between it and one lane the registers are the same but fewer.
template <class T>
constexpr int widest = sizeof(T) == 8 ? 32 : 64;

template <class T, int W>
struct Lanes {
  alignas(64) T at[W];
};

// f over the numbers with packs of W lanes; the last pack is filled up with ones.
template <int W, class T, class F>
std::vector<T> over(const std::vector<T>& x, F f) {
  std::vector<T> result(x.size());
  for (std::size_t i = 0; i < x.size(); i += W) {
    Lanes<T, W> lanes;
    for (int j = 0; j < W; ++j) lanes.at[j] = i + j < x.size() ? x[i + j] : T(1);
    f(Pack<T, W>::load(lanes.at)).store(lanes.at);
    for (int j = 0; j < W && i + j < x.size(); ++j) result[i + j] = lanes.at[j];
  }
  return result;
}
template <int W, class T, class F>
std::vector<T> over(const std::vector<T>& x, const std::vector<T>& y, F f) {
  std::vector<T> result(x.size());
  for (std::size_t i = 0; i < x.size(); i += W) {
    Lanes<T, W> a, b;
    for (int j = 0; j < W; ++j) a.at[j] = i + j < x.size() ? x[i + j] : T(1);
    for (int j = 0; j < W; ++j) b.at[j] = i + j < x.size() ? y[i + j] : T(1);
    f(Pack<T, W>::load(a.at), Pack<T, W>::load(b.at)).store(a.at);
    for (int j = 0; j < W && i + j < x.size(); ++j) result[i + j] = a.at[j];
  }
  return result;
}

template <class T>
void check_accuracy(const char* name, double bound, const std::vector<T>& x, const std::vector<T>& y,
                    const std::vector<T>& computed, const std::vector<long double>& exact) {
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = ulps(computed[i], exact[i]);
    if (!(error <= worst)) worst = error, at = i;
    if (exact[i] == 0 && computed[i] == 0)
      CHECK(std::signbit(exact[i]) == std::signbit(computed[i]), "%s(%a, %a): sign of zero", name, double(x[i]),
            double(y[i]));
  }
  std::printf("  %-8s %-6s %.3f ulp at %a %a\n", name, sizeof(T) == 8 ? "double" : "float", worst, double(x[at]),
              &x == &y ? 0.0 : double(y[at]));
  CHECK(worst <= bound, "%s(%a, %a) = %a, exact %La: %.2f ulp, bound %.2f", name, double(x[at]), double(y[at]),
        double(computed[at]), exact[at], worst, bound);
}

template <class T>
void check_same_bits(const char* name, int width, const std::vector<T>& x, const std::vector<T>& one,
                     const std::vector<T>& many) {
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!same(one[i], many[i])) {
      CHECK(false, "%s(%a) = %a alone but %a among %d lanes", name, double(x[i]), double(one[i]), double(many[i]),
            width);
      return;
    }
}

template <class T, class F, class R>
void check_unary_in(const char* name, double bound, F f, R exact) {
  const std::vector<T> x = numbers<T>(6000);
  const std::vector<T> one = over<1>(x, f);
  std::vector<long double> expected;
  for (const T v : x) expected.push_back(exact((long double)v));
  check_accuracy(name, bound, x, x, one, expected);
  check_same_bits(name, 8, x, one, over<8>(x, f));
  check_same_bits(name, widest<T>, x, one, over<widest<T>>(x, f));
}
// Pairs: every special number with every other, then numbers whose result is of a size worth testing.
template <class T, class F, class R>
void check_binary_in(const char* name, double bound, F f, R exact) {
  std::vector<T> x, y;
  const auto add = [&](T a, T b) { x.push_back(a), y.push_back(b); };
  const std::vector<T> special = special_numbers<T>();
  for (const T a : special)
    for (const T b : special) add(a, b);
  for (int i = 0; i < 10000; ++i) {
    const T a = T(std::exp(uniform(-5.0, 5.0))), b = T(uniform(-3.0, 3.0));
    add(a, b);
    add(T(1.0 + uniform(-0.4, 0.4)), T(uniform(-800.0, 800.0)));
    add(T(std::exp2(uniform(-1000.0, 1000.0))), T(uniform(-1.0, 1.0)));
    add(T(1.0 + uniform(-1e-4, 1e-4)), T(uniform(-1e6, 1e6)));
    add(T(std::floor(uniform(-40.0, 40.0))), T(std::floor(uniform(-9.0, 9.0))));
    add(T(uniform(-4.0, 4.0)), b);
    add(b * a, b);
    add(any_number<T>(), any_number<T>());
  }
  const std::vector<T> one = over<1>(x, y, f);
  std::vector<long double> expected;
  for (std::size_t i = 0; i < x.size(); ++i) expected.push_back(exact((long double)x[i], (long double)y[i]));
  check_accuracy(name, bound, x, y, one, expected);
  check_same_bits(name, 8, x, one, over<8>(x, y, f));
  check_same_bits(name, widest<T>, x, one, over<widest<T>>(x, y, f));
}
template <class F, class R>
void check_binary(const char* name, double bound, F f, R exact) {
  check_binary_in<double>(name, bound, f, exact);
  check_binary_in<float>(name, bound, f, exact);
}
template <class F, class R>
void check_unary(const char* name, double bound, F f, R exact) {
  check_unary_in<double>(name, bound, f, exact);
  check_unary_in<float>(name, bound, f, exact);
}

template <class T>
void test_sincos_is_sin_and_cos() {
  const std::vector<T> x = numbers<T>(2000);
  const auto sine = [](auto a) {
    auto s = a, c = a;
    sincos(a, s, c);
    return s;
  };
  const auto cosine = [](auto a) {
    auto s = a, c = a;
    sincos(a, s, c);
    return c;
  };
  const std::vector<T> s = over<1>(x, [](auto a) { return sin(a); }), c = over<1>(x, [](auto a) { return cos(a); });
  check_same_bits("sine of sincos", 1, x, s, over<1>(x, sine));
  check_same_bits("cosine of sincos", 1, x, c, over<1>(x, cosine));
  check_same_bits("sine of sincos", 8, x, s, over<8>(x, sine));
  check_same_bits("cosine of sincos", 8, x, c, over<8>(x, cosine));
  check_same_bits("sine of sincos", widest<T>, x, s, over<widest<T>>(x, sine));
  check_same_bits("cosine of sincos", widest<T>, x, c, over<widest<T>>(x, cosine));
}

template <class T>
void test_small_integer_powers_of_integers_are_exact() {
  for (int base = -20; base <= 20; ++base) {
    double exact = 1;
    for (int exponent = 0; exponent <= 5; ++exponent, exact *= base) {
      const T power = pow(Pack<T, 1>(T(base)), Pack<T, 1>(T(exponent))).v[0];
      CHECK(power == T(exact), "pow(%d, %d) = %a", base, exponent, double(power));
    }
  }
}

}  // namespace

int main() {
#define UNARY(name, bound) \
  check_unary(#name, bound, [](auto x) { return name(x); }, [](long double x) { return std::name(x); })
  UNARY(sin, 2.0);
  UNARY(cos, 2.0);
  UNARY(exp, 2.0);
  UNARY(log, 2.0);
  UNARY(expm1, 2.0);
  UNARY(log1p, 2.0);
  UNARY(sinh, 2.0);
  UNARY(cosh, 2.0);
  UNARY(tanh, 2.0);
  check_unary(
      "sigmoid", 2.0, [](auto x) { return sigmoid(x); },
      [](long double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); });
  UNARY(tan, 2.0);
  UNARY(asin, 2.0);
  UNARY(acos, 2.0);
  UNARY(atan, 2.0);
  // The C library's own errors, lane by lane.
  UNARY(asinh, 3.0);
  UNARY(acosh, 3.0);
  UNARY(atanh, 3.0);
  UNARY(erf, 2.0);
#define BINARY(name, bound)                                    \
  check_binary(                                                \
      #name, bound, [](auto x, auto y) { return name(x, y); }, \
      [](long double x, long double y) { return std::name(x, y); })
  BINARY(atan2, 2.0);
  BINARY(pow, 2.0);
  BINARY(hypot, 2.0);
  test_sincos_is_sin_and_cos<double>();
  test_sincos_is_sin_and_cos<float>();
  test_small_integer_powers_of_integers_are_exact<double>();
  test_small_integer_powers_of_integers_are_exact<float>();
  return report();
}
