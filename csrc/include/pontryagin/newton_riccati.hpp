// The linear-quadratic problem of a Newton step, for W problems side by side.
//
//     minimise   sum_k 1/2 z_k' H_k z_k + g_k z_k      subject to  s_{k+1} = J_k z_k + d_k,  s_0 = b where it is fixed,
//                                                                  E s_N + e = 0
//
//     Q = H_k + J_k' P_{k+1} J_k = [Q_ss, .; Q_vs, L L'],   X = L^{-1} Q_vs,   K_k = -L^{-T} X,   P_k = Q_ss - X'X
//     q_k = Q_s + K_k' Q_v,   kappa_k = -(L L')^{-1} Q_v,   (Q_s, Q_v) = g_k + J_k' (P_{k+1} d_k + q_{k+1})
//     s_{k+1} = J_k (s_k, K_k s_k + kappa_k) + d_k,         p_k = P_k s_k + q_k
//
// The end as in pontryagin/optim/newton/riccati.py: a penalty rho/2 |E s_N + e|^2 that changes nothing, and columns Y_k that
// tell what nu adds to q_k; they also give E ds_N/dnu and E s_N without another pass forward. Below x the states just
// move on, and J is not stored there.
#pragma once

#include "newton_memory.hpp"
#include "newton_semidefinite.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <int W>
class NewtonRiccati {
 public:
  using Real = TileReal<W>;
  using Lay = RowsOf<W>;
  static constexpr double independent = 1e-11;

  NewtonRiccati(const NewtonProblem& problem, const PointFunctions& functions, Arena& arena)
      : p_(problem),
        f_(functions),
        n_(p_.n),
        nv_(p_.nv),
        ns_(p_.ns),
        nz_(p_.nz),
        r_(p_.equalities),
        moved_(p_.linear_control ? p_.m : 0) {
    const long nodes = p_.steps + 1L;
    value_ = arena.take<Real>(nodes * ns_ * state()), gain_ = arena.take<Real>(nodes * nv_ * state());
    factor_ = arena.take<Real>(nodes * triangle(nv_)), slope_ = arena.take<Real>(nodes * state());
    feed_ = arena.take<Real>(nodes * nv_), columns_ = arena.take<Real>(nodes * ns_ * r_);
    column_feed_ = arena.take<Real>(nodes * nv_ * r_), left_ = arena.take<Real>(nodes * row());
    product_ = arena.take<Real>(static_cast<long>(ns_) * row());

    q_ = arena.take<Real>(Lay::all(nz_)), initial_ = arena.take<Real>(triangle(ns_));
    end_inverse_ = arena.take<Real>(static_cast<long>(r_) * r_), end_factor_ = arena.take<Real>(triangle(r_));
    pushed_ = arena.take<Real>(state()), pulled_ = arena.take<Real>(row()), s_[0] = arena.take<Real>(state());
    s_[1] = arena.take<Real>(state()), fixed_ = arena.take<Real>(state()), v_ = arena.take<Real>(row());
    rest_ = arena.take<Real>(r_), nu_ = arena.take<Real>(r_), missed_ = arena.take<Real>(r_);
    proximal = arena.take<Real>(nz_), rho = arena.take<Real>(r_);
  }

  // K_k
  PMP_INLINE Real gain(int k, int j, int a) const { return gain_[(static_cast<long>(k) * nv_ + j) * state() + a]; }

  Real *proximal, *rho;  // [nz] 1 / scale^2, [r]
  Real relaxed;          // one where the end has nothing but its penalty, else zero

  // With H + delta D, D = w_k proximal. Returns one for problems whose inertia is right, else zero.
  PMP_DEVICE_CALL Real factorise(const Real* hessian, const PointSlopes<Real>& slopes, Real delta) {
    Real good(1);
    const int last = p_.steps;
    Real* P = value_ + static_cast<long>(last) * ns_ * state();
    const Real* H = hessian + static_cast<long>(last) * Lay::all(nz_);
    for (int a = 0; a < ns_; ++a)
      for (int b = 0; b <= a; ++b) {
        Real sum = H[Lay::first(nz_, a) + b];
        if (a == b) sum = fma(delta * Real(p_.weights[last]), proximal[a], sum);
        for (int i = 0; i < r_; ++i) sum = fma(rho[i] * slopes.end[i * state() + a], slopes.end[i * state() + b], sum);
        P[a * state() + b] = P[b * state() + a] = sum;
      }
    fill_up(P);
    for (int k = last; k-- > 0;) {
      good = good * step_back(k, hessian + static_cast<long>(k) * Lay::all(nz_), slopes, delta);
      if (W == 1 && !any(good > Real(0))) return good;  // nobody else wants the rest
    }
    return good * factorise_initial();
  }

  // What the end needs beyond that, once the inertia is right: columns Y_k = (A + B K)' Y_{k+1} with Y_N = E', feeds
  // G_k = -(L L')^{-1} B' Y_{k+1}, and the inverse of -E ds_N/dnu = sum_k Y' B (L L')^{-1} B' Y + Y_0' P_0^{-1} Y_0.
  PMP_DEVICE_CALL void factorise_end(const PointSlopes<Real>& slopes) {
    if (r_ == 0) return;
    fill(end_inverse_, Real(0), static_cast<long>(r_) * r_);
    Real* Y = columns_ + static_cast<long>(p_.steps) * ns_ * r_;
    for (int a = 0; a < ns_; ++a)
      for (int i = 0; i < r_; ++i) Y[a * r_ + i] = slopes.end[i * state() + a];
    for (int k = p_.steps; k-- > 0;) {
      const Real *next = columns_ + (k + 1L) * ns_ * r_, *J = slopes.jacobian + static_cast<long>(k) * n_ * row();
      const Real *K = gain_ + static_cast<long>(k) * nv_ * state(), *L = factor_ + static_cast<long>(k) * triangle(nv_);
      Real *here = columns_ + static_cast<long>(k) * ns_ * r_, *G = column_feed_ + static_cast<long>(k) * nv_ * r_;
      if constexpr (compiled)
        if (f_.riccati_end != nullptr) {
          f_.riccati_end({numbers(next), numbers(J), numbers(K), numbers(L), numbers(end_inverse_), numbers(here),
                          numbers(G), numbers(end_inverse_)});
          continue;
        }
      for (int i = 0; i < r_; ++i) {
        pull(J, next + i, r_, pulled_);
        for (int j = 0; j < nv_; ++j) v_[j] = pulled_[ns_ + j];
        add_products(nv_, at(v_), rows(K, state()), pulled_, pulled_, state());
        for (int a = 0; a < ns_; ++a) here[a * r_ + i] = pulled_[a];
        for (int j = 0; j < nv_; ++j) {  // L^{-1} B' y
          Real sum = v_[j];
          for (int l = 0; l < j; ++l) sum = fnma(L[place_of(j, l)], G[l * r_ + i], sum);
          G[j * r_ + i] = sum * L[place_of(j, j)];
        }
      }
      for (int i = 0; i < r_; ++i)
        for (int l = 0; l <= i; ++l)
          for (int j = 0; j < nv_; ++j)
            end_inverse_[i * r_ + l] = fma(G[j * r_ + i], G[j * r_ + l], end_inverse_[i * r_ + l]);
      for (int i = 0; i < r_; ++i)
        for (int j = nv_; j-- > 0;) {  // -L^{-T} of it
          Real sum = G[j * r_ + i];
          for (int l = j + 1; l < nv_; ++l) sum = fma(L[place_of(l, j)], G[l * r_ + i], sum);
          G[j * r_ + i] = -(sum * L[place_of(j, j)]);
        }
    }
    for (int i = 0; i < r_; ++i) {
      for (int a = 0; a < ns_; ++a) v_[a] = columns_[a * r_ + i];
      solve_initial(v_);
      for (int l = 0; l <= i; ++l)
        for (int a = 0; a < ns_; ++a)
          end_inverse_[i * r_ + l] = fma(v_[a], columns_[a * r_ + l], end_inverse_[i * r_ + l]);
    }
    invert_semidefinite(end_inverse_, r_, independent, end_factor_, rest_);
  }

  // The step for g [N+1][nz] and these residuals. What a barrier costs in digits comes back when the derivative that is left
  // over is solved for once more; `matters` says of it, in the scales of the problems, from where it does.
  PMP_DEVICE_CALL void solve(const Real* hessian, const PointSlopes<Real>& slopes, Real delta, const Real* gradient,
                             const Residuals<Real>& wrong, Real matters, const Real* scale, const Real* unit_end,
                             NewtonStep<Real>& step) {
    solve_once(slopes, gradient, wrong.defect, wrong.initial, wrong.end, step, false, Real(1));
    if (!any(matters < Real(__builtin_inf()))) return;
    const Real left = left_over(hessian, slopes, delta, gradient, wrong.end, step, scale, unit_end);
    const auto refined = !(left <= matters);
    if (any(refined))
      solve_once(slopes, left_, nullptr, nullptr, missed_, step, true, select(refined, Real(1), Real(0)));
  }

 private:
  PMP_INLINE int row() const { return Lay::padded(nz_); }
  PMP_INLINE int state() const { return Lay::padded(ns_); }
  // The numbers of an array, and the rows of a matrix.
  static PMP_INLINE auto at(const Real* x) {
    return [x](int j) PMP_INLINE_LAMBDA { return x[j]; };
  }
  static PMP_INLINE auto rows(const Real* matrix, int length) {
    return [matrix, length](int j) PMP_INLINE_LAMBDA { return matrix + static_cast<long>(j) * length; };
  }
  // Zeros where a row is longer than what it holds.
  PMP_INLINE void fill_up(Real* P) const {
    for (int a = 0; a < ns_; ++a)
      for (int b = ns_; b < state(); ++b) P[a * state() + b] = Real(0);
  }

  // Q and what follows from it at step k.
  Real step_back(int k, const Real* H, const PointSlopes<Real>& slopes, Real delta) {
    const Real *P = value_ + (k + 1L) * ns_ * state(), *J = slopes.jacobian + static_cast<long>(k) * n_ * row();
    if constexpr (compiled)
      if (f_.riccati_back != nullptr) {
        const Real regular = delta * Real(p_.weights[k]);
        Real good;
        f_.riccati_back({numbers(P), numbers(J), numbers(H), numbers(&regular), numbers(proximal),
                         numbers(value_ + static_cast<long>(k) * ns_ * state()),
                         numbers(gain_ + static_cast<long>(k) * nv_ * state()),
                         numbers(factor_ + static_cast<long>(k) * triangle(nv_)), numbers(&good)});
        return good;
      }
    for (int i = 0; i < ns_; ++i) {  // P J
      Real* out = product_ + static_cast<long>(i) * row();
      const Real* from = P + i * state();
      add_products<Real>(n_, at(from), rows(J, row()), nullptr, out, row());
      for (int j = 0; j < moved_; ++j) out[ns_ + j] = out[ns_ + j] + from[n_ + j];
      for (int j = n_ + moved_; j < ns_; ++j) out[j] = out[j] + from[j];
    }
    for (int a = 0; a < nz_; ++a) {
      Real* out = q_ + Lay::first(nz_, a);
      const int length = Lay::length(nz_, a);
      add_products(
          n_, [&](int j) { return J[j * row() + a]; }, rows(product_, row()), H + Lay::first(nz_, a), out, length);
      out[a] = fma(delta * Real(p_.weights[k]), proximal[a], out[a]);
      const int carried = a >= n_ + moved_ && a < ns_ ? a : a >= ns_ && a - ns_ < moved_ ? n_ + a - ns_ : -1;
      if (carried >= 0) add_multiple(Real(1), product_ + static_cast<long>(carried) * row(), out, length);
    }
    Real* L = factor_ + static_cast<long>(k) * triangle(nv_);
    for (int a = 0; a < nv_; ++a)
      for (int b = 0; b <= a; ++b) L[place_of(a, b)] = q_[Lay::first(nz_, ns_ + a) + ns_ + b];
    const Real good = cholesky(L, nv_);
    Real* K = gain_ + static_cast<long>(k) * nv_ * state();
    for (int j = 0; j < nv_; ++j) {  // X
      Real* out = K + j * state();
      copy(q_ + Lay::first(nz_, ns_ + j), out, ns_);
      for (int a = ns_; a < state(); ++a) out[a] = Real(0);
      for (int l = 0; l < j; ++l) add_multiple(-L[place_of(j, l)], K + l * state(), out, state());
      for (int a = 0; a < ns_; ++a) out[a] = out[a] * L[place_of(j, j)];
    }
    Real* V = value_ + static_cast<long>(k) * ns_ * state();
    for (int a = 0; a < ns_; ++a) {
      Real* out = V + a * state();
      const Real* from = q_ + Lay::first(nz_, a);
      const int length = Lay::whole ? state() : a + 1;
      add_products(nv_, [&](int j) { return -K[j * state() + a]; }, rows(K, state()), from, out, length);
    }
    for (int a = 0; a < ns_; ++a)
      for (int b = 0; b < a; ++b) V[b * state() + a] = V[a * state() + b];
    fill_up(V);
    for (int j = nv_; j-- > 0;) {  // K = -L^{-T} X, from below
      Real* out = K + j * state();
      for (int l = j + 1; l < nv_; ++l) add_multiple(L[place_of(l, j)], K + l * state(), out, state());
      for (int a = 0; a < ns_; ++a) out[a] = -(out[a] * L[place_of(j, j)]);
    }
    return good;
  }

  // v <- (L L')^{-1} v
  PMP_DEVICE_CALL static void solve_triangles(const Real* L, int n, Real* v) {
    for (int j = 0; j < n; ++j) {
      Real sum = v[j];
      for (int l = 0; l < j; ++l) sum = fnma(L[place_of(j, l)], v[l], sum);
      v[j] = sum * L[place_of(j, j)];
    }
    for (int j = n; j-- > 0;) {
      Real sum = v[j];
      for (int l = j + 1; l < n; ++l) sum = fnma(L[place_of(l, j)], v[l], sum);
      v[j] = sum * L[place_of(j, j)];
    }
  }
  PMP_INLINE void solve_with(const Real* L, Real* v) const { solve_triangles(L, nv_, v); }

  // P_0 in the free components.
  Real factorise_initial() {
    int count = 0;
    for (int a = 0; a < ns_; ++a) {
      if (!p_.free[a]) continue;
      int column = 0;
      for (int b = 0; b <= a; ++b)
        if (p_.free[b]) initial_[place_of(count, column++)] = value_[a * state() + b];
      ++count;
    }
    free_count_ = count;
    return cholesky(initial_, count);
  }

  // v <- P_0^{-1} v in the free components, zero in the others.
  void solve_initial(Real* v) const {
    int count = 0;
    for (int a = 0; a < ns_; ++a)
      if (p_.free[a]) v[count++] = v[a];
    solve_triangles(initial_, count, v);
    for (int a = ns_; a-- > 0;) v[a] = p_.free[a] ? v[--count] : Real(0);
  }

  // out (nz) = J' y, with y [ns] at a distance of `stride`
  PMP_INLINE void pull(const Real* J, const Real* y, int stride, Real* out) const {
    add_products<Real>(n_, [&](int j) { return y[j * stride]; }, rows(J, row()), nullptr, out, row());
    for (int j = 0; j < moved_; ++j) out[ns_ + j] = out[ns_ + j] + y[(n_ + j) * stride];
    for (int j = n_ + moved_; j < ns_; ++j) out[j] = out[j] + y[j * stride];
  }

  // out += P s
  PMP_INLINE void add_value(const Real* P, const Real* s, Real* out) const {
    add_products(ns_, at(s), rows(P, state()), out, out, state());
  }

  // The step, or `some` of it added to what is there.
  PMP_DEVICE_CALL void solve_once(const PointSlopes<Real>& slopes, const Real* gradient, const Real* defect,
                                  const Real* initial, const Real* miss, NewtonStep<Real>& step, bool add, Real some) {
    const int last = p_.steps;
    Real* q = slope_ + static_cast<long>(last) * state();
    for (int a = 0; a < state(); ++a) q[a] = a < ns_ ? gradient[static_cast<long>(last) * row() + a] : Real(0);
    for (int i = 0; i < r_; ++i) {
      add_multiple(rho[i] * miss[i], slopes.end + static_cast<long>(i) * state(), q, state());
      rest_[i] = miss[i];
    }
    for (int k = last; k-- > 0;) {
      const Real *d = defect ? defect + static_cast<long>(k) * ns_ : nullptr, *Y = columns_ + (k + 1L) * ns_ * r_;
      if constexpr (compiled)
        if (d != nullptr && f_.riccati_pull != nullptr) {
          f_.riccati_pull({numbers(slope_ + (k + 1L) * state()), numbers(value_ + (k + 1L) * ns_ * state()), numbers(Y),
                           numbers(d), numbers(slopes.jacobian + static_cast<long>(k) * n_ * row()),
                           numbers(gradient + static_cast<long>(k) * row()),
                           numbers(gain_ + static_cast<long>(k) * nv_ * state()),
                           numbers(factor_ + static_cast<long>(k) * triangle(nv_)),
                           numbers(column_feed_ + static_cast<long>(k) * nv_ * r_), numbers(rest_),
                           numbers(slope_ + static_cast<long>(k) * state()),
                           numbers(feed_ + static_cast<long>(k) * nv_), numbers(rest_)});
          continue;
        }
      copy(slope_ + (k + 1L) * state(), pushed_, state());
      if (d) add_value(value_ + (k + 1L) * ns_ * state(), d, pushed_);
      pull(slopes.jacobian + static_cast<long>(k) * n_ * row(), pushed_, 1, pulled_);
      const Real* g = gradient + static_cast<long>(k) * row();
      for (int a = 0; a < nz_; ++a) pulled_[a] = pulled_[a] + g[a];
      const Real* K = gain_ + static_cast<long>(k) * nv_ * state();
      q = slope_ + static_cast<long>(k) * state();
      for (int a = 0; a < state(); ++a) q[a] = a < ns_ ? pulled_[a] : Real(0);
      add_products(nv_, at(pulled_ + ns_), rows(K, state()), q, q, state());
      // E s_N without nu: y' d and (J'y)_v' kappa, where (J'y)_v = -(L L') G
      Real* kappa = feed_ + static_cast<long>(k) * nv_;
      const Real* G = column_feed_ + static_cast<long>(k) * nv_ * r_;
      for (int i = 0; i < r_; ++i) {
        Real sum = rest_[i];
        if (d)
          for (int a = 0; a < ns_; ++a) sum = fma(Y[a * r_ + i], d[a], sum);
        for (int j = 0; j < nv_; ++j) sum = fma(G[j * r_ + i], pulled_[ns_ + j], sum);
        rest_[i] = sum;
      }
      for (int j = 0; j < nv_; ++j) kappa[j] = pulled_[ns_ + j];
      solve_with(factor_ + static_cast<long>(k) * triangle(nv_), kappa);
      for (int j = 0; j < nv_; ++j) kappa[j] = -kappa[j];
    }
    Real *s = s_[0], *next = s_[1];
    first_state(initial, nullptr, s);
    for (int i = 0; i < r_; ++i)
      for (int a = 0; a < ns_; ++a) rest_[i] = fma(columns_[a * r_ + i], s[a], rest_[i]);
    for (int i = 0; i < r_; ++i) {
      Real sum(0);
      for (int j = 0; j < r_; ++j) sum = fma(end_inverse_[i * r_ + j], rest_[j], sum);
      nu_[i] = select(relaxed > Real(0), Real(0), sum);
    }
    if (r_ > 0) first_state(initial, nu_, s);
    for (int k = 0; k <= last; ++k) {
      const Real* Y = columns_ + static_cast<long>(k) * ns_ * r_;
      q = slope_ + static_cast<long>(k) * state();
      Real *p = step.costate + static_cast<long>(k) * ns_, *out = step.d.s + static_cast<long>(k) * ns_;
      if constexpr (compiled)
        if (!add && defect != nullptr && k < last && f_.riccati_move != nullptr) {
          f_.riccati_move({numbers(q), numbers(value_ + static_cast<long>(k) * ns_ * state()), numbers(Y),
                           numbers(gain_ + static_cast<long>(k) * nv_ * state()),
                           numbers(feed_ + static_cast<long>(k) * nv_),
                           numbers(column_feed_ + static_cast<long>(k) * nv_ * r_),
                           numbers(slopes.jacobian + static_cast<long>(k) * n_ * row()),
                           numbers(defect + static_cast<long>(k) * ns_), numbers(nu_), numbers(s), numbers(p),
                           numbers(out), numbers(step.d.v + static_cast<long>(k) * nv_), numbers(next)});
          Real* const was = s;
          s = next, next = was;
          continue;
        }
      for (int a = 0; a < ns_; ++a)
        for (int i = 0; i < r_; ++i) q[a] = fma(Y[a * r_ + i], nu_[i], q[a]);
      add_value(value_ + static_cast<long>(k) * ns_ * state(), s, q);
      for (int a = 0; a < ns_; ++a) {
        p[a] = add ? Real(fma(some, q[a], p[a])) : q[a];
        out[a] = add ? fma(some, s[a], out[a]) : s[a];
      }
      if (k == last) break;
      const Real *K = gain_ + static_cast<long>(k) * nv_ * state(),
                 *J = slopes.jacobian + static_cast<long>(k) * n_ * row();
      const Real *kappa = feed_ + static_cast<long>(k) * nv_, *G = column_feed_ + static_cast<long>(k) * nv_ * r_;
      Real* control = step.d.v + static_cast<long>(k) * nv_;
      for (int j = 0; j < nv_; ++j) {
        Real sum = kappa[j];
        for (int i = 0; i < r_; ++i) sum = fma(G[j * r_ + i], nu_[i], sum);
        for (int a = 0; a < ns_; ++a) sum = fma(K[j * state() + a], s[a], sum);
        v_[j] = sum;
        control[j] = add ? fma(some, sum, control[j]) : sum;
      }
      const Real* d = defect ? defect + static_cast<long>(k) * ns_ : nullptr;
      for (int a = 0; a < ns_; ++a) {
        Real sum = d ? d[a] : Real(0);
        if (a < n_) {
          const Real* from = J + a * row();
          for (int b = 0; b < ns_; ++b) sum = fma(from[b], s[b], sum);
          for (int j = 0; j < nv_; ++j) sum = fma(from[ns_ + j], v_[j], sum);
        } else {
          sum = sum + (a < n_ + moved_ ? v_[a - n_] : s[a]);
        }
        next[a] = sum;
      }
      Real* const was = s;
      s = next, next = was;
    }
    for (int i = 0; i < r_; ++i) {
      Real reached = miss[i];
      for (int a = 0; a < ns_; ++a) reached = fma(slopes.end[static_cast<long>(i) * state() + a], s[a], reached);
      const Real found = fma(rho[i], reached, nu_[i]);
      step.end[i] = add ? Real(fma(some, found, step.end[i])) : found;
    }
  }

  // s_0 = b - P_0^{-1} (q_0 + Y_0 nu + P_0 b), the second part in the free components alone
  PMP_DEVICE_CALL void first_state(const Real* initial, const Real* nu, Real* s) const {
    for (int a = 0; a < ns_; ++a) fixed_[a] = initial && !p_.free[a] ? initial[a] : Real(0);
    for (int a = 0; a < ns_; ++a) {
      Real sum = slope_[a];
      if (nu)
        for (int i = 0; i < r_; ++i) sum = fma(columns_[a * r_ + i], nu[i], sum);
      for (int c = 0; c < ns_; ++c) sum = fma(value_[a * state() + c], fixed_[c], sum);
      s[a] = sum;
    }
    solve_initial(s);
    for (int a = 0; a < ns_; ++a) s[a] = fixed_[a] - s[a];
    for (int a = ns_; a < state(); ++a) s[a] = Real(0);
  }

  // H z + g + J' p - p + E' nu, which should be zero but in fixed components at k = 0, in left_, and E s_N + e in missed_.
  // Returns the largest of them, scaled.
  Real left_over(const Real* hessian, const PointSlopes<Real>& slopes, Real delta, const Real* gradient,
                 const Real* miss, const NewtonStep<Real>& step, const Real* scale, const Real* unit_end) {
    const int last = p_.steps;
    Real worst(0);
    for (int k = 0; k <= last; ++k) {
      const Real* H = hessian + static_cast<long>(k) * Lay::all(nz_);
      const Real *s = step.d.s + static_cast<long>(k) * ns_, *v = step.d.v + static_cast<long>(k) * nv_;
      const int size = k < last ? nz_ : ns_;
      Real* out = left_ + static_cast<long>(k) * row();
      const auto measure = [&] {
        for (int a = 0; a < size; ++a)
          worst = max(worst, abs(out[a] * scale[a]) * Real(1 / p_.bound_weights[k * nz_ + a]));
      };
      if constexpr (compiled)
        if (k > 0 && k < last && f_.riccati_left != nullptr) {
          const Real regular = delta * Real(p_.weights[k]);
          f_.riccati_left({numbers(step.costate + (k + 1L) * ns_), numbers(step.costate + static_cast<long>(k) * ns_),
                           numbers(slopes.jacobian + static_cast<long>(k) * n_ * row()), numbers(H),
                           numbers(gradient + static_cast<long>(k) * row()), numbers(&regular), numbers(proximal),
                           numbers(s), numbers(v), numbers(out)});
          measure();
          continue;
        }
      if (k < last) pull(slopes.jacobian + static_cast<long>(k) * n_ * row(), step.costate + (k + 1L) * ns_, 1, out);
      else fill(out, Real(0), row());
      const auto z = [&](int a) { return a < ns_ ? s[a] : v[a - ns_]; };
      const Real regular = delta * Real(p_.weights[k]);
      const Real* g = gradient + static_cast<long>(k) * row();
      for (int a = 0; a < size; ++a) out[a] = fma(regular * proximal[a], z(a), out[a] + g[a]);
      for (int a = 0; a < size; ++a) {
        const Real* from = H + Lay::first(nz_, a);
        const Real za = z(a);
        if (Lay::whole) {
          add_multiple(za, from, out, row());
        } else {
          for (int b = 0; b < a; ++b) {
            out[a] = fma(from[b], z(b), out[a]);
            out[b] = fma(from[b], za, out[b]);
          }
          out[a] = fma(from[a], za, out[a]);
        }
      }
      if (k > 0)
        for (int a = 0; a < ns_; ++a) out[a] = out[a] - step.costate[static_cast<long>(k) * ns_ + a];
      if (k == last)
        for (int i = 0; i < r_; ++i)
          add_multiple(step.end[i], slopes.end + static_cast<long>(i) * state(), out, state());
      if (k == 0)
        for (int a = 0; a < ns_; ++a)
          if (!p_.free[a]) out[a] = Real(0);
      measure();
    }
    const Real* s = step.d.s + static_cast<long>(last) * ns_;
    for (int i = 0; i < r_; ++i) {
      Real sum = miss[i];
      for (int a = 0; a < ns_; ++a) sum = fma(slopes.end[static_cast<long>(i) * state() + a], s[a], sum);
      missed_[i] = select(relaxed > Real(0), Real(0), sum);
      worst = max(worst, abs(missed_[i] / unit_end[i]));
    }
    return worst;
  }

  // Whether compiled functions may step here; they are of many problems.
  static constexpr bool compiled = W == newton_lanes && !PMP_THREAD_TILES && !PMP_CUDA;
  static PMP_INLINE const double* numbers(const Real* rows) { return reinterpret_cast<const double*>(rows); }
  static PMP_INLINE double* numbers(Real* rows) { return reinterpret_cast<double*>(rows); }

  const NewtonProblem& p_;
  const PointFunctions& f_;
  const int n_;
  const int nv_;
  const int ns_;
  const int nz_;
  const int r_;
  const int moved_;
  int free_count_ = 0;
  Real *value_, *gain_, *factor_, *slope_, *feed_, *columns_, *column_feed_, *left_, *product_, *q_, *initial_,
      *end_inverse_, *end_factor_, *pushed_, *pulled_, *s_[2], *fixed_, *v_, *rest_, *nu_, *missed_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
