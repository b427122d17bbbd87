// How many operations the hand-written gradient takes for one problem: its own text, run on numbers that count.
//
// An addition, a subtraction, a multiplication and a division are one each; the two of a fused multiply-add are two, as
// in the peak. What moves bits (signs, quadrants) is not counted.
#include "cartpole.cpp"

#include <vector>

namespace {

long count = 0;

// Wider than the double in it, so that the branches for vectors are taken.
struct Counted {
  double value = 0, unused = 0;
  Counted() = default;
  Counted(double v) : value(v) {}
};
#define COUNTED_OPERATOR(op) \
  Counted operator op(Counted a, Counted b) { return ++count, a.value op b.value; }
COUNTED_OPERATOR(+)
COUNTED_OPERATOR(-)
COUNTED_OPERATOR(*)
COUNTED_OPERATOR(/)

struct CountedBits {
  std::int64_t value = 0, unused = 0;
  explicit operator bool() const { return value != 0; }
  CountedBits operator&(std::int64_t o) const { return {value & o, 0}; }
  CountedBits operator+(std::int64_t o) const { return {value + o, 0}; }
  CountedBits operator<<(std::int64_t o) const { return {value << o, 0}; }
  CountedBits operator!=(std::int64_t o) const { return {value != o, 0}; }
  void operator^=(CountedBits o) { value ^= o.value; }
};

struct Counting {
  using Number = double;
  using Value = Counted;
  using Bits = CountedBits;
};

long operations(int steps) {
  std::vector<double> x0(2 * 4), u(2 * steps, 1.0), objective(2), gradient(2 * steps), tape(2 * 4 * 6 * steps);
  count = 0;
  sweep<Pack<Counting, 1>>(x0.data(), u.data(), objective.data(), gradient.data(), steps, 2, tape.data());
  return count;
}

}  // namespace

// Of one step forward and backward; what the ends of the horizon take is left out.
extern "C" long operations_per_step() { return operations(101) - operations(100); }
