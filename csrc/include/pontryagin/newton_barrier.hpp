// Inequalities by a primal-dual barrier, for W problems side by side: pontryagin/optim/newton/barrier.py, which has the
// formulas. Slacks and multipliers are rows, one for each inequality that there is, sorted by nodes.
#pragma once

#include "math.hpp"
#include "newton_memory.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <int W>
class NewtonBarrier {
 public:
  using Real = TileReal<W>;
  using Lay = RowsOf<W>;

  explicit NewtonBarrier(const NewtonProblem& problem) : p_(problem), ns_(p_.ns), nz_(p_.nz) {}

  // f(row, node, inequality)
  template <class F>
  PMP_INLINE void each(F f) const {
    PMP_DEVICE_ROLLED
    for (int k = 0; k <= p_.steps; ++k) {
      PMP_DEVICE_ROLLED
      for (int row = p_.first_inequality[k]; row < p_.first_inequality[k + 1]; ++row) f(row, k, p_.inequality[row]);
    }
  }

  // Component i of z at node k; there is no v at the last.
  PMP_INLINE Real& component(const Unknowns<Real>& z, int k, int i) const {
    return i < ns_ ? z.s[static_cast<long>(k) * ns_ + i] : z.v[static_cast<long>(k) * p_.nv + i - ns_];
  }

  // z - low or high - z; of c this is nothing to ask for.
  PMP_INLINE Real gap(const Unknowns<Real>& z, int k, const Inequality& one) const {
    return one.index < nz_ ? component(z, k, one.index) - Real(one.bound)
                           : Real(one.bound) - component(z, k, one.index - nz_);
  }
  PMP_INLINE bool is_bound(const Inequality& one) const { return one.index < 2 * nz_; }
  // Row of c.
  PMP_INLINE long path_row(int k, const Inequality& one) const {
    return static_cast<long>(k) * p_.rows + one.index - 2 * nz_;
  }

  // r of c: c + sigma, and zero where there is none.
  void residual(const Real* path, const Real* sigma, Real* found) const {
    fill(found, Real(0), (p_.steps + 1L) * p_.rows);
    if (p_.rows == 0) return;
    each([&](int row, int k, const Inequality& one) {
      if (!is_bound(one)) found[path_row(k, one)] = path[path_row(k, one)] + sigma[row];
    });
  }

  // sum w log sigma, minus infinity outside. Of several slacks with one weight, next to each other, it is one logarithm: that
  // of their product, unless one of them is very small or large.
  Real logarithms(const Real* sigma) const {
    Real total(0);
    const int rows = p_.inequality_count();
    if constexpr (lanes_of_points<W> > W) {  // one problem: products lie side by side
      using Wide = Pack<double, lanes_of_points<W>>;
      Wide products(1), others(0), known(0);
      double weights[Wide::width];
      const auto entry = [](Wide& pack, int i) -> double& { return reinterpret_cast<double*>(&pack)[i]; };
      int count = 0;
      for (int first = 0, end; first < rows; first = end) {
        end = group_from(first);
        weights[count] = p_.inequality[first].weight;
        Real fine(1);
        const Real product = product_of(sigma, first, end, fine);
        const bool usual = all(fine > Real(0));
        entry(products, count) = usual ? *reinterpret_cast<const double*>(&product) : 1;
        entry(known, count) = usual;
        if (!usual) {
          const Real sum = one_by_one(sigma, first, end);
          entry(others, count) = *reinterpret_cast<const double*>(&sum);
        }
        if (++count < Wide::width && end < rows) continue;
        Wide found = select(known > Wide(0), log(products), others);
        for (int i = 0; i < count; ++i) total = fma(Real(weights[i]), Real(entry(found, i)), total);
        count = 0;
      }
    } else {
      for (int first = 0, end; first < rows; first = end) {
        end = group_from(first);
        Real fine(1);
        const Real product = product_of(sigma, first, end, fine);
        const auto usual = fine > Real(0);
        Real found = log(Real(select(usual, product, Real(1))));
        if (PMP_UNLIKELY(!all(usual))) found = select(usual, found, one_by_one(sigma, first, end));
        total = fma(Real(p_.inequality[first].weight), found, total);
      }
    }
    return total;
  }

  // What inequalities add to the Hessian, which is multiplied by `keep` first.
  PMP_DEVICE_CALL void condense(const PointSlopes<Real>& slopes, const Real* sigma, const Real* multiplier, Real keep,
                                Real barrier) const {
    const int size = Lay::all(nz_);
    const long count = (p_.steps + 1L) * size;
    if (!all(keep > Real(0)))
      for (long i = 0; i < count; ++i) slopes.hessian[i] = select(keep > Real(0), slopes.hessian[i], Real(0));
    each([&](int row, int k, const Inequality& one) {
      const Real stiff = select(barrier > Real(0), Real(one.weight) * multiplier[row] / sigma[row], Real(0));
      Real* H = slopes.hessian + static_cast<long>(k) * size;
      if (is_bound(one)) {
        const int i = one.index < nz_ ? one.index : one.index - nz_;
        Real& place = H[Lay::first(nz_, i) + i];
        place = place + stiff;
        return;
      }
      const Real* G = slopes.path + path_row(k, one) * Lay::padded(nz_);
      for (int a = 0; a < nz_; ++a) add_multiple(stiff * G[a], G, H + Lay::first(nz_, a), Lay::length(nz_, a));
    });
    if constexpr (Lay::whole) {
      for (int k = 0; k <= p_.steps; ++k) {  // the upper triangle is the lower one, to the bit
        Real* H = slopes.hessian + static_cast<long>(k) * size;
        for (int a = 0; a < nz_; ++a)
          for (int c = 0; c < a; ++c) H[Lay::first(nz_, c) + a] = H[Lay::first(nz_, a) + c];
      }
    }
  }

  // The gradient of the linear-quadratic problem for residuals r of c.
  void gradient(const PointSlopes<Real>& slopes, const Real* sigma, const Real* multiplier, Real mu, const Real* r,
                Real keep, Real barrier, Real* found) const {
    const long all = (p_.steps + 1L) * Lay::padded(nz_);
    for (long i = 0; i < all; ++i) found[i] = select(keep > Real(0), slopes.gradient[i], Real(0));
    each([&](int row, int k, const Inequality& one) {
      Real push = Real(one.weight) * mu / sigma[row];
      if (!is_bound(one)) push = fma(Real(one.weight) * multiplier[row] / sigma[row], r[path_row(k, one)], push);
      push = select(barrier > Real(0), push, Real(0));
      pull(slopes, one, k, push, found);
    });
  }

  // G' of one inequality, times a number, added to out [N+1][nz].
  PMP_INLINE void pull(const PointSlopes<Real>& slopes, const Inequality& one, int k, Real value, Real* out) const {
    Real* at = out + static_cast<long>(k) * Lay::padded(nz_);
    if (one.index < nz_) at[one.index] = at[one.index] - value;
    else if (is_bound(one)) at[one.index - nz_] = at[one.index - nz_] + value;
    else add_multiple(value, slopes.path + path_row(k, one) * Lay::padded(nz_), at, Lay::padded(nz_));
  }

  // dsigma and dlambda of a step, and how long it may be for either of them.
  PMP_DEVICE_CALL void direction(const PointSlopes<Real>& slopes, const Real* sigma, const Real* multiplier, Real mu,
                                 const Real* r, const Unknowns<Real>& d, Real* dsigma, Real* dmultiplier, Real& longest,
                                 Real& longest_dual) const {
    const Real tau = max(Real(0.99), Real(1) - mu);
    Real shrink(0), shrink_dual(0);  // the largest -change / value
    each([&](int row, int k, const Inequality& one) {
      Real moved;
      if (one.index < nz_) {
        moved = component(d, k, one.index);
      } else if (is_bound(one)) {
        moved = -component(d, k, one.index - nz_);
      } else {
        const Real* G = slopes.path + path_row(k, one) * Lay::padded(nz_);
        Real sum = -r[path_row(k, one)];
        for (int a = 0; a < ns_; ++a) sum = fnma(G[a], d.s[static_cast<long>(k) * ns_ + a], sum);
        if (k < p_.steps)
          for (int j = 0; j < p_.nv; ++j) sum = fnma(G[ns_ + j], d.v[static_cast<long>(k) * p_.nv + j], sum);
        moved = sum;
      }
      dsigma[row] = moved;
      const Real inverse = Real(1) / sigma[row];
      const Real change = fnma(multiplier[row], moved, mu) * inverse - multiplier[row];
      dmultiplier[row] = change;
      shrink = larger_of(shrink, -moved * inverse);
      shrink_dual = larger_of(shrink_dual, -change / multiplier[row]);
    });
    longest = length(tau, shrink), longest_dual = length(tau, shrink_dual);
  }

  // z + alpha d, with slacks of bounds read off from it and those of c moved by themselves.
  PMP_DEVICE_CALL void moved(const Unknowns<Real>& z, const Real* sigma, Real alpha, const Unknowns<Real>& d,
                             const Real* dsigma, Unknowns<Real>& to, Real* to_sigma) const {
    const long states = (p_.steps + 1L) * ns_, controls = static_cast<long>(p_.steps) * p_.nv;
    for (long i = 0; i < states; ++i) to.s[i] = fma(alpha, d.s[i], z.s[i]);
    for (long i = 0; i < controls; ++i) to.v[i] = fma(alpha, d.v[i], z.v[i]);
    each([&](int row, int k, const Inequality& one) {
      to_sigma[row] = is_bound(one) ? gap(to, k, one) : fma(alpha, dsigma[row], sigma[row]);
    });
  }

  // Largest |sigma lambda - mu|.
  Real complementarity(const Real* sigma, const Real* multiplier, Real mu) const {
    Real worst(0);
    for (int row = 0; row < p_.inequality_count(); ++row)
      worst = max(worst, abs(fma(sigma[row], multiplier[row], -mu)));
    return worst;
  }

 private:
  static constexpr int together = 8;
  static constexpr double smallest = 1e-35, largest = 1e35;  // their products are numbers

  int group_from(int first) const {
    const int rows = p_.inequality_count();
    int end = first + 1;
    while (end < rows && end < first + together && p_.inequality[end].weight == p_.inequality[first].weight) ++end;
    return end;
  }
  // And whether all of them are usual.
  static PMP_INLINE Real product_of(const Real* sigma, int first, int end, Real& fine) {
    Real product(1);
    for (int row = first; row < end; ++row) {
      const Real s = sigma[row];
      fine = select((s >= Real(smallest)) & (s <= Real(largest)), fine, Real(0));
      product = product * s;
    }
    return product;
  }
  static Real one_by_one(const Real* sigma, int first, int end) {
    Real sum(0);
    for (int row = first; row < end; ++row) {
      const Real s = sigma[row];
      const auto inside = s > Real(0);
      sum = sum + select(inside, log(Real(select(inside, s, Real(1)))), Real(-__builtin_inf()));
    }
    return sum;
  }
  // Not a number counts as no limit, as it does in numpy's comparison; such a step is refused later.
  static PMP_INLINE Real larger_of(Real a, Real b) { return select(b > a, b, a); }
  static PMP_INLINE Real length(Real tau, Real shrink) {
    const Real limit = tau / select(shrink > Real(0), shrink, Real(1));
    return select(shrink > Real(0), select(limit < Real(1), limit, Real(1)), Real(1));
  }

  const NewtonProblem& p_;
  const int ns_;
  const int nz_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
