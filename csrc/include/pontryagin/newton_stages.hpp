// Steps of a Runge-Kutta method with their derivatives of first and second order, V of them side by side: of V problems, or
// V steps of one problem.
//
// With z = (s_k, v_k), y_i = (X_i, u, theta, t1) the arguments of stage i and Y_i = dy_i/dz,
//
//     X_i = x + h sum_{j<i} a_ij f_j        D_i = (f, L)_y Y_i        X rows of Y_i = I + h sum_{j<i} a_ij D_j
//     F = x + h sum b_i f_i,  l = h sum b_i L_i                       F_z = I + h sum b_i D_i
//
// and for the Hessian of w l + p.F in z, backward over the stages as in the costate sweep,
//
//     w_i = h b_i w,   m_i = h b_i p + h sum_{j>i} a_ji g_j,   g_i = (w_i L_x + m_i f_x)
//     H = sum_i Y_i' Hess(w_i L + m_i.f)(y_i) Y_i
//
// Its slow twin is pontryagin/backend/linearise.py, which explains why this is exact.
#pragma once

#include "newton_memory.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <int V>
class NewtonStages {
 public:
  using Real = TileReal<V>;

  // What is given of V steps: s_k [ns], v_k [nv], data at t_k and, where it is linear, at t_{k+1}; the scaled time t_k and h.
  struct Step {
    const Real *s, *v, *d;
    Real tau, h;
  };
  // What is wanted: F [n], l, F_z [n][nz], l_z times the weight [nz], and the lower triangle of the Hessian, by rows.
  struct Derivatives {
    Real *jacobian, *gradient, *hessian;
  };

  NewtonStages(const NewtonProblem& problem, const PointFunctions& functions, Arena& arena)
      : p_(problem),
        f_(functions),
        n_(p_.n),
        m_(p_.m),
        ns_(p_.ns),
        nz_(p_.nz),
        rest_(p_.ns - p_.n - (p_.linear_control ? p_.m : 0)) {
    theta = arena.take<Real>(p_.q);
    for (int i = 0; i < p_.tableau.stages; ++i) {
      rows_[i] = arena.take<Real>(p_.rows_of_points.count);
      moves_[i] = arena.take<Real>(static_cast<long>(n_) * nz_);
      slopes_[i] = arena.take<Real>((n_ + 1L) * nz_);
    }
    products_ = arena.take<Real>(static_cast<long>(n_ + m_ + rest_) * nz_);
    pulled_ = arena.take<Real>(static_cast<long>(max_stages) * n_);
    for (int i = 0; i < point::count; ++i) fixed_[i] = arena.take<char>(f_.fixed_bytes[i]);
  }

  // Fills the memory of functions that want some.
  void prepare() {
    for (int i = 0; i < point::count; ++i)
      if (f_.prepare[i]) f_.prepare[i](f_.self[i], fixed_[i]);
    for (int i = 0; i < p_.tableau.stages; ++i) fill(rows_[i], Real(0), p_.rows_of_points.count);
    fill(theta, Real(0), p_.q);
  }

  Real* theta;  // [q] as given

  // Arguments and results of the functions of a point, in the rows of the first stage.
  Real* point_rows() { return rows_[0]; }
  void call(point::Function function, Real* rows) {
#if PMP_THREAD_TILES
    call_point(function, reinterpret_cast<double*>(rows));
#else
    f_.call[function](f_.self[function], reinterpret_cast<double*>(rows), fixed_[function]);
#endif
  }
  bool has(point::Function function) const {
#if PMP_THREAD_TILES
    return has_point(function);
#else
    return f_.call[function] != nullptr;
#endif
  }

  // F to next, and l.
  Real values(const Step& in, Real* next) {
#if !PMP_THREAD_TILES
    if (f_.step_values != nullptr) {
      Real cost;
      f_.step_values(rows_of(in, next, cost));
      return cost;
    }
#endif
    for (int i = 0; i < p_.tableau.stages; ++i) {
      enter(in, i);
      call(point::stage_values, rows_[i]);
    }
    return finish(in, next);
  }

  // The same of two steps whose rows lie one after the other, where functions have them in pairs.
#if PMP_THREAD_TILES
  bool in_pairs() const { return false; }
  void two_values(const Real*, const Real*, const Real*, const Real*, const Real*, Real*, Real*) {}
#else
  bool in_pairs() const { return f_.two_step_values != nullptr; }
  void two_values(const Real* s, const Real* v, const Real* d, const Real* tau, const Real* h, Real* next, Real* cost) {
    f_.two_step_values(
        {numbers(s), numbers(v), numbers(d), numbers(theta), numbers(tau), numbers(h), numbers(next), numbers(cost)});
  }
#endif

  // The same with derivatives. costate [n] and weight weigh the Hessian; without `exact`, l alone does.
  Real derivatives(const Step& in, const Real* costate, Real weight, bool exact, Real* next, const Derivatives& to) {
#if !PMP_THREAD_TILES
    if (exact && f_.step_derivatives != nullptr) {
      Real cost;
      StepRows rows = rows_of(in, next, cost);
      rows.costate = numbers(costate), rows.weight = numbers(&weight);
      rows.jacobian = numbers(to.jacobian), rows.gradient = numbers(to.gradient), rows.hessian = numbers(to.hessian);
      f_.step_derivatives(rows);
      return cost;
    }
#endif
    const Tableau& t = p_.tableau;
    for (int i = 0; i < t.stages; ++i) {
      enter(in, i);
      call(point::stage_slopes, rows_[i]);
      move(i, in.h);
      chain(i);
    }
    for (int a = 0; a < n_; ++a) combine_slopes(a, in.h, t.b, t.stages, to.jacobian + static_cast<long>(a) * nz_);
    combine_slopes(n_, in.h, t.b, t.stages, to.gradient);
    for (int c = 0; c < nz_; ++c) to.gradient[c] = weight * to.gradient[c];
    hessian(in.h, costate, weight, exact, to.hessian);
    return finish(in, next);
  }

 private:
#if !PMP_THREAD_TILES
  static PMP_INLINE double* numbers(Real* rows) { return reinterpret_cast<double*>(rows); }
  static PMP_INLINE const double* numbers(const Real* rows) { return reinterpret_cast<const double*>(rows); }
  StepRows rows_of(const Step& in, Real* next, Real& cost) const {
    return {numbers(in.s),    numbers(in.v),  numbers(in.d), numbers(theta),
            numbers(&in.tau), numbers(&in.h), numbers(next), numbers(&cost)};
  }
#endif

  const Real* results(int stage) const { return rows_[stage] + p_.rows_of_points.output; }

  PMP_DEVICE_CALL void enter(const Step& in, int stage) {
    const PointRows& at = p_.rows_of_points;
    const double c = p_.tableau.c[stage], *weight = p_.tableau.a[stage];
    Real* rows = rows_[stage];
    rows[at.tau] = in.tau + Real(c) * in.h;
    for (int i = 0; i < p_.q; ++i) rows[at.theta + i] = theta[i];
    const Real* moved = in.s + ns_ - rest_;
    for (int i = 0; i < p_.optimised_count; ++i) rows[at.theta + p_.optimised[i]] = moved[i];
    rows[at.t1] = p_.free_time ? moved[p_.optimised_count] : Real(0);
    copy(in.s, rows + at.x, n_);
    for (int j = 0; j < stage; ++j) {
      if (weight[j] == 0) continue;
      const Real factor = in.h * Real(weight[j]);
      for (int a = 0; a < n_; ++a) rows[at.x + a] = fma(factor, results(j)[a], rows[at.x + a]);
    }
    for (int j = 0; j < m_; ++j)
      rows[at.u + j] = p_.linear_control ? Real(fma(Real(c), in.v[j], Real(1 - c) * in.s[n_ + j])) : in.v[j];
    for (int j = 0; j < p_.nd; ++j)
      rows[at.d + j] = p_.linear_data ? Real(fma(Real(c), in.d[p_.nd + j], Real(1 - c) * in.d[j])) : in.d[j];
  }

  // F and l of stages that have been called.
  Real finish(const Step& in, Real* next) const {
    const Tableau& t = p_.tableau;
    Real cost(0);
    for (int a = 0; a < n_; ++a) next[a] = in.s[a];
    for (int i = 0; i < t.stages; ++i) {
      if (t.b[i] == 0) continue;
      const Real factor = in.h * Real(t.b[i]);
      const Real* found = results(i);
      for (int a = 0; a < n_; ++a) next[a] = fma(factor, found[a], next[a]);
      cost = fma(factor, found[n_], cost);
    }
    return cost;
  }

  // Row a of I + h sum weight_i D_i, for a = n without I.
  void combine_slopes(int a, Real h, const double* weight, int count, Real* out) const {
    Pack<double, V> factor[max_stages];
    const Real* from[max_stages] = {};
    int used = 0;
    for (int i = 0; i < count; ++i)
      if (weight[i] != 0) factor[used] = h * Real(weight[i]), from[used++] = slopes_[i] + static_cast<long>(a) * nz_;
    for (int c = 0; c < nz_; ++c) {
      Real sum(a == c && a < n_ ? 1.0 : 0.0);
      for (int i = 0; i < used; ++i) sum = fma(factor[i], from[i][c], sum);
      out[c] = sum;
    }
  }

  // The rows of Y_i that belong to X_i; those of the first stage are the identity and are not written.
  void move(int stage, Real h) {
    if (stage == 0) return;
    for (int a = 0; a < n_; ++a)
      combine_slopes(a, h, p_.tableau.a[stage], stage, moves_[stage] + static_cast<long>(a) * nz_);
  }

  // D_i = (f, L)_y Y_i
  void chain(int stage) {
    Real* out = slopes_[stage];
    fill(out, Real(0), (n_ + 1L) * nz_);
    const Real* entries = results(stage) + n_ + 1;
    for (int e = 0; e < p_.stage_jacobian.count; ++e)
      add_row(entries[e], p_.stage_jacobian.column[e], stage, out + static_cast<long>(p_.stage_jacobian.row[e]) * nz_);
  }

  // out += value (row `j` of Y_i)
  PMP_INLINE void add_row(Real value, int j, int stage, Real* out) const {
    if (j < n_ && stage > 0) {
      const Real* row = moves_[stage] + static_cast<long>(j) * nz_;
      for (int c = 0; c < nz_; ++c) out[c] = fma(value, row[c], out[c]);
    } else if (j < n_) {
      out[j] = out[j] + value;
    } else if (j >= n_ + m_) {
      const int place = ns_ - rest_ + j - n_ - m_;
      out[place] = out[place] + value;
    } else if (!p_.linear_control) {
      out[ns_ + j - n_] = out[ns_ + j - n_] + value;
    } else {
      const double c = p_.tableau.c[stage];
      out[j] = fma(Real(1 - c), value, out[j]);
      out[ns_ + j - n_] = fma(Real(c), value, out[ns_ + j - n_]);
    }
  }

  void hessian(Real h, const Real* costate, Real weight, bool exact, Real* out) {
    const Tableau& t = p_.tableau;
    fill(out, Real(0), triangle(nz_));
    for (int i = t.stages; i-- > 0;) {
      Real* rows = rows_[i];
      Real* const w = rows + p_.rows_of_points.weights;  // w, m
      const Real share = h * Real(t.b[i]);
      w[0] = share * weight;
      for (int a = 0; a < n_; ++a) w[1 + a] = share * costate[a];
      for (int j = i + 1; j < t.stages; ++j) {
        if (t.a[j][i] == 0) continue;
        const Real factor = h * Real(t.a[j][i]);
        for (int a = 0; a < n_; ++a) w[1 + a] = fma(factor, pulled_[j * n_ + a], w[1 + a]);
      }
      Real* pulled = pulled_ + static_cast<long>(i) * n_;
      fill(pulled, Real(0), n_);
      const Real* entries = results(i) + n_ + 1;
      for (int e = 0; e < p_.stage_jacobian.count; ++e) {
        const int row = p_.stage_jacobian.row[e], column = p_.stage_jacobian.column[e];
        if (column < n_) pulled[column] = fma(row < n_ ? w[1 + row] : w[0], entries[e], pulled[column]);
      }
      if (p_.stage_hessian.count == 0) continue;
      if (!exact)
        for (int a = 0; a < n_; ++a) w[1 + a] = Real(0);
      call(point::stage_hessian, rows);
      add_stage_hessian(i, rows + p_.rows_of_points.hessian, out);
    }
  }

  // H += Y' E Y, by rows T = E Y.
  void add_stage_hessian(int stage, const Real* entries, Real* out) {
    const Entries& where = p_.stage_hessian;
    const int ny = n_ + m_ + rest_;
    bool used[max_rows];
    for (int j = 0; j < ny; ++j) used[j] = false;
    const auto product = [&](int j) {
      Real* products = products_ + static_cast<long>(j) * nz_;
      if (!used[j]) fill(products, Real(0), nz_);
      used[j] = true;
      return products;
    };
    for (int e = 0; e < where.count; ++e) {
      const int i = where.row[e], j = where.column[e];
      add_row(entries[e], j, stage, product(i));
      if (i != j) add_row(entries[e], i, stage, product(j));
    }
    const double c = p_.tableau.c[stage];
    const auto add = [&](int a, Real factor, const Real* products) {
      Real* row = out + triangle(a);
      for (int b = 0; b <= a; ++b) row[b] = fma(factor, products[b], row[b]);
    };
    for (int j = 0; j < ny; ++j) {
      if (!used[j]) continue;
      const Real* products = products_ + static_cast<long>(j) * nz_;
      if (j < n_ && stage > 0) {
        const Real* moves = moves_[stage] + static_cast<long>(j) * nz_;
        for (int a = 0; a < nz_; ++a) add(a, moves[a], products);
      } else if (j < n_) {
        add(j, Real(1), products);
      } else if (j >= n_ + m_) {
        add(ns_ - rest_ + j - n_ - m_, Real(1), products);
      } else {
        if (p_.linear_control) add(j, Real(1 - c), products);
        add(ns_ + j - n_, Real(p_.linear_control ? c : 1.0), products);
      }
    }
  }

  static constexpr int max_rows = PMP_MOST_COMPONENTS;  // components of y

  const NewtonProblem& p_;
  const PointFunctions& f_;
  const int n_;
  const int m_;
  const int ns_;
  const int nz_;
  const int rest_;
  Real *rows_[max_stages], *moves_[max_stages], *slopes_[max_stages];
  Real *products_, *pulled_;
  char* fixed_[point::count];
};

}  // namespace PMP_ISA
}  // namespace pontryagin
