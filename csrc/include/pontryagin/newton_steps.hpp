// The second-order sweep: steps of a Runge-Kutta method with their derivatives, for W problems side by side.
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

template <int W>
class NewtonSteps {
 public:
  using Real = TileReal<W>;
  using Lay = RowsOf<W>;

  NewtonSteps(const NewtonProblem& problem, const PointFunctions& functions, Arena& arena)
      : p_(problem),
        f_(functions),
        n_(p_.n),
        m_(p_.m),
        ns_(p_.ns),
        nz_(p_.nz),
        rest_(p_.ns - p_.n - (p_.linear_control ? p_.m : 0)) {
    initial = arena.take<Real>(ns_), theta = arena.take<Real>(p_.q);
    data = arena.take<Real>((p_.steps + 1L) * p_.nd);
    for (int i = 0; i < p_.tableau.stages; ++i) {
      rows_[i] = arena.take<Real>(p_.rows_of_points.count);
      moves_[i] = arena.take<Real>(static_cast<long>(n_) * row());
      slopes_[i] = arena.take<Real>((n_ + 1L) * row());
    }
    const int ny = n_ + m_ + rest_;
    products_ = arena.take<Real>(static_cast<long>(ny) * row());
    pulled_ = arena.take<Real>(static_cast<long>(max_stages) * (n_ + 1));
    scratch_ = arena.take<Real>(row());
    for (int i = 0; i < point::count; ++i) fixed_[i] = arena.take<char>(f_.fixed_bytes[i]);
  }

  // Fills the memory of functions that want some.
  void prepare() {
    for (int i = 0; i < point::count; ++i)
      if (f_.prepare[i]) f_.prepare[i](f_.self[i], fixed_[i]);
    for (int i = 0; i < p_.tableau.stages; ++i) fill(rows_[i], Real(0), p_.rows_of_points.count);
  }

  // Given for each problem.
  Real *initial, *theta, *data;  // [ns], [q], [K][nd]

  // F, c, psi, J. NaN stays visible.
  PMP_DEVICE_CALL void values(const Unknowns<Real>& z, PointValues<Real>& found) {
    Real cost(0);
    for (int k = 0; k < p_.steps; ++k) {
      const double h = p_.nodes[k + 1] - p_.nodes[k];
      const Real* s = z.s + static_cast<long>(k) * ns_;
      for (int i = 0; i < p_.tableau.stages; ++i) {
        enter_stage(z, k, i, h);
        call(point::stage_values, rows_[i]);
      }
      Real* next = found.next + static_cast<long>(k) * n_;
      for (int a = 0; a < n_; ++a) next[a] = combined(s[a], h, p_.tableau.b, p_.tableau.stages, a);
      cost = combined(cost, h, p_.tableau.b, p_.tableau.stages, n_);
    }
    found.cost = cost;
    for (int k = 0; k <= p_.steps; ++k)
      path_values(z, k, point::path_values, found.path + static_cast<long>(k) * p_.rows);
    ends(z, point::end_values, point::start_values, found);
  }

  // The states that follow from the first one and the controls, written to z.
  void roll_out(Unknowns<Real>& z) {
    for (int k = 0; k < p_.steps; ++k) {
      const double h = p_.nodes[k + 1] - p_.nodes[k];
      Real *s = z.s + static_cast<long>(k) * ns_, *next = s + ns_;
      for (int i = 0; i < p_.tableau.stages; ++i) {
        enter_stage(z, k, i, h);
        call(point::stage_values, rows_[i]);
      }
      for (int a = 0; a < n_; ++a) next[a] = combined(s[a], h, p_.tableau.b, p_.tableau.stages, a);
      for (int a = n_; a < ns_; ++a) next[a] = carried(z, k, a);
    }
  }

  // The nonlinear path along a step: controls v + alpha dv with the feedback K (gain(k, j, a)) of the step, and dynamics with
  // defects that shrink to 1 - alpha of what they were.
  template <class Gain>
  void follow(const Unknowns<Real>& z, const Unknowns<Real>& d, Real alpha, const Real* defect, Gain gain,
              Unknowns<Real>& to) {
    for (int a = 0; a < ns_; ++a) to.s[a] = fma(alpha, d.s[a], z.s[a]);
    for (int k = 0; k < p_.steps; ++k) {
      const double h = p_.nodes[k + 1] - p_.nodes[k];
      const long at = static_cast<long>(k) * ns_, feed = static_cast<long>(k) * p_.nv;
      const Real* s = to.s + at;
      for (int j = 0; j < p_.nv; ++j) {
        Real v = fma(alpha, d.v[feed + j], z.v[feed + j]);
        for (int a = 0; a < ns_; ++a) v = fma(gain(k, j, a), s[a] - fma(alpha, d.s[at + a], z.s[at + a]), v);
        to.v[feed + j] = v;
      }
      for (int i = 0; i < p_.tableau.stages; ++i) {
        enter_stage(to, k, i, h);
        call(point::stage_values, rows_[i]);
      }
      Real* next = to.s + at + ns_;
      for (int a = 0; a < ns_; ++a) {
        const Real moved = a < n_ ? combined(s[a], h, p_.tableau.b, p_.tableau.stages, a) : carried(to, k, a);
        next[a] = fnma(Real(1) - alpha, defect[at + a], moved);
      }
    }
  }

  // What the states below x move on to: u_k of a linear control, parameters, t1.
  PMP_INLINE Real carried(const Unknowns<Real>& z, int k, int a) const {
    if (p_.linear_control && a < n_ + m_) return z.v[static_cast<long>(k) * p_.nv + a - n_];
    return z.s[static_cast<long>(k) * ns_ + a];
  }

  // Values and derivatives. costate [N+1][ns], nu [r] and mu = path(k, i) weigh the Hessian; without `exact`, J alone does.
  template <class PathMultiplier>
  void linearise(const Unknowns<Real>& z, const Real* costate, const Real* nu, PathMultiplier mu, Real weight,
                 bool exact, PointValues<Real>& found, PointSlopes<Real>& slopes) {
    const int size = matrix();
    Real cost(0);
    for (int k = 0; k < p_.steps; ++k)
      linearise_step(z, k, costate + (k + 1L) * ns_, weight, exact, cost, found.next + static_cast<long>(k) * n_,
                     slopes.jacobian + static_cast<long>(k) * n_ * row(),
                     slopes.gradient + static_cast<long>(k) * row(), slopes.hessian + static_cast<long>(k) * size);
    found.cost = cost;
    fill(slopes.gradient + static_cast<long>(p_.steps) * row(), Real(0), row());
    fill(slopes.hessian + static_cast<long>(p_.steps) * size, Real(0), size);
    for (int k = 0; k <= p_.steps; ++k) {
      Real* path = slopes.path + static_cast<long>(k) * p_.rows * row();
      fill(path, Real(0), static_cast<long>(p_.rows) * row());
      path_values(z, k, point::path_slopes, found.path + static_cast<long>(k) * p_.rows);
      if (p_.paths == 0) continue;
      const Real* entries = rows_[0] + p_.rows_of_points.output + p_.paths;
      for (int e = 0; e < p_.path_jacobian.count; ++e) {
        const int i = p_.path_jacobian.row[e];
        if (active(k, i)) spread(entries[e], p_.path_jacobian.column[e], k, path + static_cast<long>(i) * row());
      }
      if (p_.path_hessian.count == 0 || !exact) continue;
      for (int i = 0; i < p_.paths; ++i)
        rows_[0][p_.rows_of_points.weights + i] =
            active(k, i) ? mu(k, i) * Real(p_.path_weights[k * p_.rows + i]) : Real(0);
      call(point::path_hessian, rows_[0]);
      add_point_hessian(p_.path_hessian, k, slopes.hessian + static_cast<long>(k) * size);
    }
    linearise_ends(z, nu, mu, weight, exact, found, slopes);
  }

  // Numbers of a row of z, and of a Hessian.
  PMP_INLINE int row() const { return Lay::padded(nz_); }
  PMP_INLINE int matrix() const { return Lay::all(nz_); }

 private:
  bool active(int k, int i) const { return p_.active[k * p_.rows + i] != 0; }

  bool has(point::Function function) const {
#if PMP_THREAD_TILES
    return has_point(function);
#else
    return f_.call[function] != nullptr;
#endif
  }

  void call(point::Function function, Real* rows) {
#if PMP_THREAD_TILES
    call_point(function, reinterpret_cast<double*>(rows));
#else
    f_.call[function](f_.self[function], reinterpret_cast<double*>(rows), fixed_[function]);
#endif
  }
  const Real* results(int stage) const { return rows_[stage] + p_.rows_of_points.output; }

  // from + h sum_i weight_i (result `a` of stage i)
  PMP_INLINE Real combined(Real from, double h, const double* weight, int count, int a) const {
    for (int i = 0; i < count; ++i)
      if (weight[i] != 0) from = fma(Real(h * weight[i]), results(i)[a], from);
    return from;
  }

  PMP_INLINE void enter(const Unknowns<Real>& z, int k, Real* rows, Real tau) {
    const PointRows& at = p_.rows_of_points;
    rows[at.tau] = tau;
    for (int i = 0; i < p_.q; ++i) rows[at.theta + i] = theta[i];
    const Real* moved = z.s + static_cast<long>(k) * ns_ + ns_ - rest_;
    for (int i = 0; i < p_.optimised_count; ++i) rows[at.theta + p_.optimised[i]] = moved[i];
    rows[at.t1] = p_.free_time ? moved[p_.optimised_count] : Real(0);
  }

  PMP_DEVICE_CALL void enter_stage(const Unknowns<Real>& z, int k, int stage, double h) {
    const PointRows& at = p_.rows_of_points;
    const double c = p_.tableau.c[stage];
    Real* rows = rows_[stage];
    const Real *s = z.s + static_cast<long>(k) * ns_, *v = z.v + static_cast<long>(k) * p_.nv;
    enter(z, k, rows, Real(p_.nodes[k] + c * h));
    for (int a = 0; a < n_; ++a) rows[at.x + a] = combined(s[a], h, p_.tableau.a[stage], stage, a);
    for (int j = 0; j < m_; ++j)
      rows[at.u + j] = p_.linear_control ? Real(fma(Real(c), v[j], Real(1 - c) * s[n_ + j])) : v[j];
    const Real* d = data + static_cast<long>(k) * p_.nd;
    for (int j = 0; j < p_.nd; ++j)
      rows[at.d + j] = p_.linear_data ? Real(fma(Real(c), d[p_.nd + j], Real(1 - c) * d[j])) : d[j];
  }

  // At a node: a constant control has its last value at the end, too.
  PMP_DEVICE_CALL void enter_node(const Unknowns<Real>& z, int k) {
    const PointRows& at = p_.rows_of_points;
    Real* rows = rows_[0];
    const Real* s = z.s + static_cast<long>(k) * ns_;
    const int step = k < p_.steps ? k : p_.steps - 1;
    enter(z, k, rows, Real(p_.nodes[k]));
    for (int a = 0; a < n_; ++a) rows[at.x + a] = s[a];
    for (int j = 0; j < m_; ++j)
      rows[at.u + j] = p_.linear_control ? s[n_ + j] : z.v[static_cast<long>(step) * p_.nv + j];
    const Real* d = data + static_cast<long>(p_.linear_data ? k : step) * p_.nd;
    for (int j = 0; j < p_.nd; ++j) rows[at.d + j] = d[j];
  }

  PMP_DEVICE_CALL void path_values(const Unknowns<Real>& z, int k, point::Function function, Real* path) {
    if (p_.paths == 0) {
      fill(path, Real(0), p_.rows);
      return;
    }
    enter_node(z, k);
    call(function, rows_[0]);
    for (int i = 0; i < p_.paths; ++i) path[i] = active(k, i) ? results(0)[i] : Real(0);
    fill(path + p_.paths, Real(0), p_.rows - p_.paths);
  }

  void ends(const Unknowns<Real>& z, point::Function end, point::Function start, PointValues<Real>& found) {
    enter_node(z, p_.steps);
    call(end, rows_[0]);
    const Real* out = results(0);
    found.cost = found.cost + out[0];
    for (int i = 0; i < p_.equalities; ++i) found.end[i] = out[1 + i];
    for (int i = p_.paths; i < p_.rows; ++i)
      found.path[static_cast<long>(p_.steps) * p_.rows + i] = out[1 + p_.equalities + i - p_.paths];
    if (!has(start)) return;
    enter_node(z, 0);
    call(start, rows_[0]);
    found.cost = found.cost + results(0)[0];
  }

  void linearise_step(const Unknowns<Real>& z, int k, const Real* costate, Real weight, bool exact, Real& cost,
                      Real* next, Real* jacobian, Real* gradient, Real* hessian) {
    const Tableau& t = p_.tableau;
    const double h = p_.nodes[k + 1] - p_.nodes[k];
    const Real* s = z.s + static_cast<long>(k) * ns_;
    for (int i = 0; i < t.stages; ++i) {
      enter_stage(z, k, i, h);
      call(point::stage_slopes, rows_[i]);
      move(i, h);
      chain(i);
    }
    for (int a = 0; a < n_; ++a) next[a] = combined(s[a], h, t.b, t.stages, a);
    cost = combined(cost, h, t.b, t.stages, n_);
    for (int a = 0; a <= n_; ++a) {
      Real* out = a < n_ ? jacobian + static_cast<long>(a) * row() : gradient;
      fill(out, Real(0), row());
      if (a < n_) out[a] = Real(1);
      for (int i = 0; i < t.stages; ++i)
        if (t.b[i] != 0) add_multiple(Real(h * t.b[i]), slopes_[i] + static_cast<long>(a) * row(), out, row());
    }
    for (int c = 0; c < row(); ++c) gradient[c] = weight * gradient[c];
    step_hessian(h, costate, weight, exact, hessian);
  }

  // The rows of Y_i that belong to X_i; those of the first stage are the identity and are not written.
  void move(int stage, double h) {
    if (stage == 0) return;
    Real* moves = moves_[stage];
    const double* a = p_.tableau.a[stage];
    for (int i = 0; i < n_; ++i) {
      Real* out = moves + static_cast<long>(i) * row();
      fill(out, Real(0), row());
      out[i] = Real(1);
      for (int j = 0; j < stage; ++j)
        if (a[j] != 0) add_multiple(Real(h * a[j]), slopes_[j] + static_cast<long>(i) * row(), out, row());
    }
  }

  // D_i = (f, L)_y Y_i
  void chain(int stage) {
    Real* out = slopes_[stage];
    fill(out, Real(0), (n_ + 1L) * row());
    const Real* entries = results(stage) + n_ + 1;
    for (int e = 0; e < p_.stage_jacobian.count; ++e)
      add_row(entries[e], p_.stage_jacobian.column[e], stage,
              out + static_cast<long>(p_.stage_jacobian.row[e]) * row());
  }

  // out += value (row `j` of Y_i)
  PMP_INLINE void add_row(Real value, int j, int stage, Real* out) const {
    if (j < n_ && stage > 0) add_multiple(value, moves_[stage] + static_cast<long>(j) * row(), out, row());
    else if (j < n_) out[j] = out[j] + value;
    else spread_control(value, j, p_.tableau.c[stage], out);
  }

  // The same for the rows below x.
  PMP_INLINE void spread_control(Real value, int j, double c, Real* out) const {
    if (j >= n_ + m_) {
      const int place = ns_ - rest_ + j - n_ - m_;
      out[place] = out[place] + value;
    } else if (!p_.linear_control) {
      out[ns_ + j - n_] = out[ns_ + j - n_] + value;
    } else {
      out[j] = fma(Real(1 - c), value, out[j]);
      out[ns_ + j - n_] = fma(Real(c), value, out[ns_ + j - n_]);
    }
  }

  // out += value (row `j` of dy/dz at node k). A constant control has no row at the end.
  PMP_INLINE void spread(Real value, int j, int k, Real* out) const {
    if (j < n_) out[j] = out[j] + value;
    else if (p_.linear_control && j < n_ + m_) out[j] = out[j] + value;
    else if (j >= n_ + m_ || k < p_.steps) spread_control(value, j, 0, out);
  }

  void step_hessian(double h, const Real* costate, Real weight, bool exact, Real* hessian) {
    const Tableau& t = p_.tableau;
    fill(hessian, Real(0), matrix());
    for (int i = t.stages; i-- > 0;) {
      Real* rows = rows_[i];
      Real* const w = rows + p_.rows_of_points.weights;  // w, m
      w[0] = Real(h * t.b[i]) * weight;
      for (int a = 0; a < n_; ++a) {
        Real sum = Real(h * t.b[i]) * costate[a];
        for (int j = i + 1; j < t.stages; ++j)
          if (t.a[j][i] != 0) sum = fma(Real(h * t.a[j][i]), pulled_[j * n_ + a], sum);
        w[1 + a] = sum;
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
      add_stage_hessian(i, rows + p_.rows_of_points.hessian, hessian);
    }
  }

  // H += Y' E Y, by rows T = E Y.
  void add_stage_hessian(int stage, const Real* entries, Real* hessian) {
    const Entries& where = p_.stage_hessian;
    const int ny = n_ + m_ + rest_;
    bool used[max_rows];
    for (int j = 0; j < ny; ++j) used[j] = false;
    const auto product = [&](int j) {
      Real* products = products_ + static_cast<long>(j) * row();
      if (!used[j]) fill(products, Real(0), row());
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
      add_multiple(factor, products, hessian + Lay::first(nz_, a), Lay::length(nz_, a));
    };
    for (int j = 0; j < ny; ++j) {
      if (!used[j]) continue;
      const Real* products = products_ + static_cast<long>(j) * row();
      if (j < n_ && stage > 0) {
        const Real* moves = moves_[stage] + static_cast<long>(j) * row();
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

  // H += Y' E Y at a node, where every argument is one component of z.
  void add_point_hessian(const Entries& where, int k, Real* hessian) {
    const Real* entries = rows_[0] + p_.rows_of_points.hessian;
    for (int e = 0; e < where.count; ++e) {
      const int i = component(where.row[e], k), j = component(where.column[e], k);
      if (i < 0 || j < 0) continue;
      const auto add = [&](int a, int b) {
        Real& place = hessian[Lay::first(nz_, a) + b];
        place = place + entries[e];
      };
      if (i >= j || Lay::whole) add(i, j);
      if (i < j || (i != j && Lay::whole)) add(j, i);
    }
  }

  // The component of z that is argument j at node k, or -1.
  int component(int j, int k) const {
    if (j < n_ || (p_.linear_control && j < n_ + m_)) return j;
    if (j >= n_ + m_) return ns_ - rest_ + j - n_ - m_;
    return k < p_.steps ? ns_ + j - n_ : -1;
  }

  template <class PathMultiplier>
  void linearise_ends(const Unknowns<Real>& z, const Real* nu, PathMultiplier mu, Real weight, bool exact,
                      PointValues<Real>& found, PointSlopes<Real>& slopes) {
    ends(z, point::end_slopes, point::start_slopes, found);
    Real* gradient = slopes.gradient;
    if (has(point::start_slopes)) {  // its rows are still there
      const Real* entries = results(0) + 1;
      fill(scratch_, Real(0), row());
      for (int e = 0; e < p_.start_jacobian.count; ++e) spread(entries[e], p_.start_jacobian.column[e], 0, scratch_);
      add_multiple(weight, scratch_, gradient, row());
      if (p_.start_hessian.count > 0) {
        rows_[0][p_.rows_of_points.weights] = weight;
        call(point::start_hessian, rows_[0]);
        add_point_hessian(p_.start_hessian, 0, slopes.hessian);
      }
      enter_node(z, p_.steps);
      call(point::end_slopes, rows_[0]);
    }
    const int last = p_.steps;
    const Real* entries = results(0) + p_.ends;
    fill(slopes.end, Real(0), static_cast<long>(p_.equalities) * Lay::padded(ns_));
    fill(scratch_, Real(0), row());
    for (int e = 0; e < p_.end_jacobian.count; ++e) {
      const int i = p_.end_jacobian.row[e], j = component(p_.end_jacobian.column[e], last);
      if (j < 0) continue;
      if (i == 0) {
        scratch_[j] = scratch_[j] + entries[e];
      } else if (i <= p_.equalities) {
        slopes.end[static_cast<long>(i - 1) * Lay::padded(ns_) + j] = entries[e];
      } else {
        const long place = static_cast<long>(last) * p_.rows + p_.paths + i - 1 - p_.equalities;
        slopes.path[place * row() + j] = entries[e];
      }
    }
    add_multiple(weight, scratch_, gradient + static_cast<long>(last) * row(), row());
    if (p_.end_hessian.count == 0) return;
    Real* const omega = rows_[0] + p_.rows_of_points.weights;
    omega[0] = weight;
    for (int i = 0; i < p_.equalities; ++i) omega[1 + i] = exact ? nu[i] : Real(0);
    for (int i = p_.paths; i < p_.rows; ++i)
      omega[1 + p_.equalities + i - p_.paths] =
          exact && active(last, i) ? mu(last, i) * Real(p_.path_weights[last * p_.rows + i]) : Real(0);
    call(point::end_hessian, rows_[0]);
    add_point_hessian(p_.end_hessian, last, slopes.hessian + static_cast<long>(last) * matrix());
  }

 public:
  static constexpr int max_rows = PMP_MOST_COMPONENTS;  // components of y that the sweep takes

 private:
  const NewtonProblem& p_;
  const PointFunctions& f_;
  const int n_;
  const int m_;
  const int ns_;
  const int nz_;
  const int rest_;
  Real *rows_[max_stages], *moves_[max_stages], *slopes_[max_stages];
  Real *products_, *pulled_, *scratch_;
  char* fixed_[point::count];
};

}  // namespace PMP_ISA
}  // namespace pontryagin
