// The quick tanh of multilayer perceptrons, over all sizes of its argument.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.hpp"
#include "pontryagin/mlp_activation.hpp"

using namespace pontryagin;

namespace {

void test_tanh_of_float() {
  using P = Pack<float, 16>;
  alignas(64) float x[16], y[16];
  double worst = 0.0, largest = 0.0;
  for (unsigned long k = 0; k <= 0x7f800000ul; k += 16 * 331) {
    for (int i = 0; i < 16; ++i) {
      const unsigned bits = static_cast<unsigned>(std::min(k + i * 331ul, 0x7f800000ul));
      std::memcpy(x + i, &bits, sizeof bits);
    }
    activation::quick_tanh(P::load(x)).store(y);
    for (int i = 0; i < 16; ++i) {
      const double exact = std::tanh(static_cast<double>(x[i]));
      int exponent;
      std::frexp(exact, &exponent);
      const double error = std::fabs(y[i] - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
      worst = error <= worst ? worst : error;
      largest = std::max(largest, static_cast<double>(y[i]));
      x[i] = -x[i];
    }
    const P negative = activation::quick_tanh(P::load(x));
    CHECK(!any(negative != -P::load(y)), "tanh is odd");
  }
  CHECK(worst <= 6.0, "tanh: %.2f units in the last place", worst);
  CHECK(largest == 1.0, "tanh: largest value %.9g", largest);
  activation::quick_tanh(P(NAN)).store(y);
  CHECK(std::isnan(y[0]) && std::isnan(y[15]), "tanh of not a number is %g", static_cast<double>(y[0]));
}

}  // namespace

int main() {
  test_tanh_of_float();
  return report();
}
