// A Model over packs of several registers, made of one over single registers.
#pragma once

#include "each.hpp"
#include "macros.hpp"
#include "pack.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Where a stage keeps its cut: values go there as soon as they are known and are read just before they are used. Rows are
// W lanes wide; this is one register of each.
template <class Part, int W>
struct TapePart {
  typename Part::Scalar* at;
  PMP_INLINE void keep(int i, Part value) const { value.store(at + i * W); }
  PMP_INLINE Part kept(int i) const { return Part::load(at + i * W); }
};

// A Model over packs of several registers, made of one over single registers: its functions run register by register.
// The registers are independent, so that the processor overlaps them by itself, and each function has all of its
// registers for its own intermediate values.
template <template <class> class ModelOf, class T, int W>
struct ByRegister : ModelOf<Pack<T, W>> {
  using Whole = ModelOf<Pack<T, W>>;
  using Real = Pack<T, W>;
  using Part = Pack<T, Real::lanes>;
  using One = ModelOf<Part>;
  struct Cut {
    T* at;
    PMP_INLINE TapePart<Part, W> part(int i) const { return {at + i * Real::lanes}; }
  };

  template <class Count, class From, class To>
  static PMP_INLINE void take(const From& from, int part, To& to, Count count) {
    each(count, [&](auto i) PMP_INLINE_LAMBDA { to[i].v[0] = from[i].v[part]; });
  }
  template <class Count, class From, class To>
  static PMP_INLINE void give(const From& from, int part, To& to, Count count) {
    each(count, [&](auto i) PMP_INLINE_LAMBDA { to[i].v[part] = from[i].v[0]; });
  }
  static PMP_INLINE Part part_of(const Real& from, int part) {
    Part to;
    to.v[0] = from.v[part];
    return to;
  }

  static PMP_INLINE void dynamics(Real t, const typename Whole::State& x, const typename Whole::Control& u,
                                  const typename Whole::Parameters& theta, const typename Whole::Data& d,
                                  typename Whole::State& f, Real& L, const Cut& cut) {
    each(Size<Real::count>(), [&](auto part) PMP_INLINE_LAMBDA {
      typename One::State xs, fs;
      typename One::Control us;
      typename One::Parameters thetas;
      typename One::Data ds;
      Part Ls;
      take(x, part, xs, Whole::n()), take(u, part, us, Whole::m());
      take(theta, part, thetas, Whole::q()), take(d, part, ds, Whole::nd());
      One::dynamics(part_of(t, part), xs, us, thetas, ds, fs, Ls, cut.part(part));
      give(fs, part, f, Whole::n());
      L.v[part] = Ls.v[0];
    });
  }

  template <class G>
  static PMP_INLINE void pullback(const Cut& cut, Real t, const typename Whole::Control& u,
                                  const typename Whole::Parameters& theta, const typename Whole::Data& d, Real w,
                                  const typename Whole::State& m, G& g) {
    each(Size<Real::count>(), [&](auto part) PMP_INLINE_LAMBDA {
      typename One::State ms;
      typename One::Control us;
      typename One::Parameters thetas;
      typename One::Data ds;
      struct {
        typename One::State x;
        typename One::Control u;
        typename One::Parameters theta;
        Part t;
      } gs;
      take(m, part, ms, Whole::n()), take(u, part, us, Whole::m());
      take(theta, part, thetas, Whole::q()), take(d, part, ds, Whole::nd());
      One::pullback(cut.part(part), part_of(t, part), us, thetas, ds, part_of(w, part), ms, gs);
      give(gs.x, part, g.x, Whole::n()), give(gs.u, part, g.u, Whole::m());
      give(gs.theta, part, g.theta, Whole::q());
      g.t.v[part] = gs.t.v[0];
    });
  }
};

}  // namespace PMP_ISA
}  // namespace pontryagin
