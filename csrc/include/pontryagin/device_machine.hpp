// The accumulator machine for one problem a thread. All threads run the same instruction at the same time, and slot i of
// neighbouring threads lies side by side, so that operands are read and results are written together.
#pragma once

#include "device_program.hpp"
#include "macros.hpp"
#include "math.hpp"
#include "pack.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Slots of one thread, `stride` numbers apart.
template <class T>
struct DeviceSlots {
  T* first;
  long long stride;
  PMP_INLINE T& operator[](long long slot) const { return first[slot * stride]; }
  PMP_INLINE DeviceSlots from(long long slot) const { return {first + slot * stride, stride}; }
};

template <class T>
class DeviceMachine {
 public:
  using Real = Pack<T, 1>;

  PMP_INLINE explicit DeviceMachine(DeviceSlots<T> fixed) : fixed_(fixed) {}

  // Runs `code` up to its halt, over the records of a node and of the next one.
  PMP_NOINLINE void run(const DeviceInstruction* code, DeviceSlots<T> record, DeviceSlots<T> next) const {
    Real acc(T(0));
    const auto slot = [&](unsigned place) PMP_INLINE_LAMBDA -> T& {
      const DeviceBank bank = static_cast<DeviceBank>(place & 3u);
      T* const first = bank == DeviceBank::fixed    ? fixed_.first
                       : bank == DeviceBank::record ? record.first
                                                    : next.first;
      return first[static_cast<long long>(place >> device_place::bank_bits) * fixed_.stride];
    };
    const auto value = [&](unsigned place) PMP_INLINE_LAMBDA {
      return (place & 3u) == device_place::accumulator ? acc : Real(slot(place));
    };
    for (;; ++code) {
      const DeviceInstruction at = *code;
      const Op op = static_cast<Op>(at.to & 0xffu);
      if (op == Op::halt) return;
      if (op == Op::sincos) {
        Real sine, cosine;
        sincos(value(at.a), sine, cosine);
        slot(at.c) = cosine.v[0];
        acc = sine;
      } else {
        acc = result(op, acc, value(at.a), value(at.b), value(at.c));
      }
      const unsigned to = at.to >> device_place::op_bits;
      if ((to & 3u) != device_place::accumulator) slot(to) = acc.v[0];
    }
  }

 private:
  static PMP_INLINE Real truth(bool condition) { return Real(condition ? T(1) : T(0)); }

  static PMP_INLINE Real result(Op op, Real acc, Real a, Real b, Real c) {
    switch (op) {
      case Op::neg: return -a;
      case Op::abs: return abs(a);
      case Op::sign: return sign(a);
      case Op::sqrt: return sqrt(a);
      case Op::reciprocal: return Real(T(1)) / a;
      case Op::exp: return exp(a);
      case Op::expm1: return expm1(a);
      case Op::log: return log(a);
      case Op::log1p: return log1p(a);
      case Op::sin: return sin(a);
      case Op::cos: return cos(a);
      case Op::tan: return tan(a);
      case Op::asin: return asin(a);
      case Op::acos: return acos(a);
      case Op::atan: return atan(a);
      case Op::sinh: return sinh(a);
      case Op::cosh: return cosh(a);
      case Op::tanh: return tanh(a);
      case Op::asinh: return asinh(a);
      case Op::acosh: return acosh(a);
      case Op::atanh: return atanh(a);
      case Op::erf: return erf(a);
      case Op::sigmoid: return sigmoid(a);
      case Op::floor: return floor(a);
      case Op::ceil: return ceil(a);
      case Op::round: return round(a);
      case Op::trunc: return trunc(a);
      case Op::add: return a + b;
      case Op::sub: return a - b;
      case Op::mul: return a * b;
      case Op::div: return a / b;
      case Op::pow: return pow(a, b);
      case Op::atan2: return atan2(a, b);
      case Op::hypot: return hypot(a, b);
      case Op::min: return min(a, b);
      case Op::max: return max(a, b);
      case Op::lt: return truth(a.v[0] < b.v[0]);
      case Op::le: return truth(a.v[0] <= b.v[0]);
      case Op::eq: return truth(a.v[0] == b.v[0]);
      case Op::ne: return truth(a.v[0] != b.v[0]);
      case Op::where: return a.v[0] != T(0) ? b : c;
      case Op::fma: return fma(a, b, c);
      case Op::fnma: return fnma(a, b, c);
      case Op::fms: return fms(a, b, c);
      case Op::fma3: return fma(a * b, c, acc);
      case Op::fnma3: return fnma(a * b, c, acc);
      case Op::copy: return a;
      case Op::sincos:
      case Op::halt:
      case Op::count:
      case Op::input: break;
    }
    return acc;
  }

  const DeviceSlots<T> fixed_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
