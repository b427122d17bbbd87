// The second-order sweep of W problems: steps (newton_stages.hpp), path constraints at the nodes, the ends.
//
// One problem alone fills no register. Of its steps, which do not depend on each other where the states are unknowns, as
// many as a register holds are evaluated side by side; what is sequential (a path that is rolled out) uses one lane.
#pragma once

#include "newton_stages.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <int W>
class NewtonSteps {
 public:
  using Real = TileReal<W>;
  using Lay = RowsOf<W>;
  static constexpr int V = lanes_of_points<W>;  // of an evaluation
  static constexpr int span = V / W;            // steps or nodes of one problem side by side
  using Wide = TileReal<V>;

  NewtonSteps(const NewtonProblem& problem, const PointFunctions& functions, Arena& arena)
      : p_(problem),
        n_(p_.n),
        m_(p_.m),
        ns_(p_.ns),
        nz_(p_.nz),
        rest_(p_.ns - p_.n - (p_.linear_control ? p_.m : 0)),
        stages_(problem, functions, arena) {
    initial = arena.take<Real>(ns_), theta = arena.take<Real>(p_.q);
    data = arena.take<Real>((p_.steps + 1L) * p_.nd);
    scratch_ = arena.take<Real>(row());
    if (span == 1) return;
    s_ = arena.take<Wide>(ns_), v_ = arena.take<Wide>(p_.nv), d_ = arena.take<Wide>(2L * p_.nd);
    next_ = arena.take<Wide>(n_), costate_ = arena.take<Wide>(n_);
    jacobian_ = arena.take<Wide>(static_cast<long>(n_) * nz_), gradient_ = arena.take<Wide>(nz_);
    hessian_ = arena.take<Wide>(triangle(nz_)), paths_.take(arena, p_);
    nexts_ = arena.take<Wide>(static_cast<long>(p_.steps) * n_);
  }

  // Fills the memory of functions that want some.
  void prepare() { stages_.prepare(); }

  // Given for each problem.
  Real *initial, *theta, *data;  // [ns], [q], [K][nd]

  // F, c, psi, J. NaN stays visible.
  PMP_DEVICE_CALL void values(const Unknowns<Real>& z, PointValues<Real>& found) {
    take_parameters();
    found.cost = Real(0);
    int k = 0;
    if constexpr (span == 1)
      for (; stages_.in_pairs() && k + 2 <= p_.steps; k += 2) two_values(z, k, found);
    for (; k < p_.steps; k += span) step_values(z, k, lanes_from(k, p_.steps), found);
    other_values(z, found);
  }
  // The same where F and the cost of the steps are known.
  PMP_DEVICE_CALL void other_values(const Unknowns<Real>& z, PointValues<Real>& found) {
    for (int k = 0; k <= p_.steps; k += span) path_values(z, k, point::path_values, found.path);
    ends(z, point::end_values, point::start_values, found);
  }

  // The states that follow from the first one and the controls, written to z.
  void roll_out(Unknowns<Real>& z) {
    take_parameters();
    for (int k = 0; k < p_.steps; ++k) advance(z, k);
  }

  // The nonlinear path along a step: controls v + alpha dv with the feedback K (gain(k, j, a)) of the step, and dynamics with
  // defects that shrink to 1 - alpha of what they were. One problem alone goes along alpha, alpha / 2, ... side by side;
  // where it is the first call for this step, `fresh`, the others find theirs there. F and the cost of the steps go to `found`.
  template <class Gain>
  void follow(const Unknowns<Real>& z, const Unknowns<Real>& d, Real alpha, bool fresh, const Real* defect, Gain gain,
              Unknowns<Real>& to, PointValues<Real>& found) {
    if constexpr (span == 1) {
      follow_all(z, d, alpha, defect, gain, to, found.next, found.cost);
    } else {
      int lane = 0;
      if (!fresh)
        while (lane < V && !all(lane_of(alphas_, lane) == alpha)) ++lane;
      if (fresh || lane == V) {
        lane = 0;
        double length = *reinterpret_cast<const double*>(&alpha);
        for (int l = 0; l < V; ++l, length *= 0.5) put(alphas_, l, Real(length));
        follow_all(z, d, alphas_, defect, gain, paths_, nexts_, costs_);
      }
      for (long i = 0; i < (p_.steps + 1L) * ns_; ++i) to.s[i] = lane_of(paths_.s[i], lane);
      for (long i = 0; i < static_cast<long>(p_.steps) * p_.nv; ++i) to.v[i] = lane_of(paths_.v[i], lane);
      for (long i = 0; i < static_cast<long>(p_.steps) * n_; ++i) found.next[i] = lane_of(nexts_[i], lane);
      found.cost = lane_of(costs_, lane);
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
    take_parameters();
    found.cost = Real(0);
    for (int k = 0; k < p_.steps; k += span)
      linearise_steps(z, k, lanes_from(k, p_.steps), costate, weight, exact, found, slopes);
    fill(slopes.gradient + static_cast<long>(p_.steps) * row(), Real(0), row());
    fill(slopes.hessian + static_cast<long>(p_.steps) * matrix(), Real(0), matrix());
    fill(slopes.path, Real(0), (p_.steps + 1L) * p_.rows * row());
    for (int k = 0; k <= p_.steps; k += span) {
      path_values(z, k, point::path_slopes, found.path);
      if (p_.paths > 0) path_slopes(k, lanes_from(k, p_.steps + 1), mu, exact, slopes);
    }
    linearise_ends(z, nu, mu, weight, exact, found, slopes);
  }

  // Numbers of a row of z, and of a Hessian.
  PMP_INLINE int row() const { return Lay::padded(nz_); }
  PMP_INLINE int matrix() const { return Lay::all(nz_); }

 private:
  bool active(int k, int i) const { return p_.active[k * p_.rows + i] != 0; }
  static int lanes_from(int k, int end) { return end - k < span ? end - k : span; }

  // One problem's part of a pack, and back; with one problem a lane, the pack itself.
  static PMP_INLINE Real lane_of(const Wide& value, int l) {
    if constexpr (span == 1) return value;
    else return Real(reinterpret_cast<const double*>(&value)[l]);
  }
  static PMP_INLINE void put(Wide& to, int l, Real value) {
    if constexpr (span == 1) to = value;
    else reinterpret_cast<double*>(&to)[l] = *reinterpret_cast<const double*>(&value);
  }
  static PMP_INLINE Wide spread_out(Real value) {
    if constexpr (span == 1) return value;
    else return Wide(*reinterpret_cast<const double*>(&value));
  }

  void take_parameters() {
    for (int i = 0; i < p_.q; ++i) stages_.theta[i] = spread_out(theta[i]);
  }

  using Step = typename NewtonStages<V>::Step;

  // Steps k to k + count; lanes that are left have the last of them once more.
  Step steps_from(const Unknowns<Real>& z, int k, int count) {
    const long nd = p_.nd;
    if constexpr (span == 1) {
      return {z.s + static_cast<long>(k) * ns_, z.v + static_cast<long>(k) * p_.nv, data + k * nd, Real(p_.nodes[k]),
              Real(p_.nodes[k + 1] - p_.nodes[k])};
    } else {
      Wide tau, h;
      for (int l = 0; l < span; ++l) {
        const int step = k + (l < count ? l : count - 1);
        const Real *s = z.s + static_cast<long>(step) * ns_, *v = z.v + static_cast<long>(step) * p_.nv;
        for (int a = 0; a < ns_; ++a) put(s_[a], l, s[a]);
        for (int j = 0; j < p_.nv; ++j) put(v_[j], l, v[j]);
        for (int j = 0; j < (p_.linear_data ? 2 : 1) * nd; ++j) put(d_[j], l, data[step * nd + j]);
        put(tau, l, Real(p_.nodes[step])), put(h, l, Real(p_.nodes[step + 1] - p_.nodes[step]));
      }
      return {s_, v_, d_, tau, h};
    }
  }

  // Of steps k and k + 1, which do not wait for each other.
  void two_values(const Unknowns<Real>& z, int k, PointValues<Real>& found) {
    Real tau[2], h[2], cost[2];
    for (int l = 0; l < 2; ++l) tau[l] = Real(p_.nodes[k + l]), h[l] = Real(p_.nodes[k + l + 1] - p_.nodes[k + l]);
    stages_.two_values(z.s + static_cast<long>(k) * ns_, z.v + static_cast<long>(k) * p_.nv,
                       data + static_cast<long>(k) * p_.nd, tau, h, found.next + static_cast<long>(k) * n_, cost);
    found.cost = found.cost + cost[0];
    found.cost = found.cost + cost[1];
  }

  void step_values(const Unknowns<Real>& z, int k, int count, PointValues<Real>& found) {
    Real* next = found.next + static_cast<long>(k) * n_;
    const Step step = steps_from(z, k, count);
    if constexpr (span == 1) {
      found.cost = found.cost + stages_.values(step, next);
    } else {
      const Wide cost = stages_.values(step, next_);
      for (int l = 0; l < count; ++l) {
        for (int a = 0; a < n_; ++a) next[l * n_ + a] = lane_of(next_[a], l);
        found.cost = found.cost + lane_of(cost, l);
      }
    }
  }

  void linearise_steps(const Unknowns<Real>& z, int k, int count, const Real* costate, Real weight, bool exact,
                       PointValues<Real>& found, PointSlopes<Real>& slopes) {
    Real* next = found.next + static_cast<long>(k) * n_;
    Real* jacobian = slopes.jacobian + static_cast<long>(k) * n_ * row();
    Real* gradient = slopes.gradient + static_cast<long>(k) * row();
    Real* hessian = slopes.hessian + static_cast<long>(k) * matrix();
    const Step step = steps_from(z, k, count);
    const Real* p = costate + (k + 1L) * ns_;
    if constexpr (span == 1) {
      const Real cost = stages_.derivatives(step, p, weight, exact, next, {jacobian, gradient, hessian});
      found.cost = found.cost + cost;
    } else {
      for (int l = 0; l < span; ++l)
        for (int a = 0; a < n_; ++a) put(costate_[a], l, p[(l < count ? l : count - 1) * ns_ + a]);
      const Wide cost =
          stages_.derivatives(step, costate_, spread_out(weight), exact, next_, {jacobian_, gradient_, hessian_});
      for (int l = 0; l < count; ++l) {
        found.cost = found.cost + lane_of(cost, l);
        for (int a = 0; a < n_; ++a) next[l * n_ + a] = lane_of(next_[a], l);
        for (int a = 0; a < n_; ++a)
          put_row(jacobian_ + static_cast<long>(a) * nz_, l, jacobian + (l * n_ + a) * row());
        put_row(gradient_, l, gradient + l * row());
        Real* H = hessian + static_cast<long>(l) * matrix();
        for (int a = 0; a < nz_; ++a) {
          for (int b = 0; b <= a; ++b)
            H[Lay::first(nz_, a) + b] = H[Lay::first(nz_, b) + a] = lane_of(hessian_[place_of(a, b)], l);
          for (int b = nz_; b < row(); ++b) H[Lay::first(nz_, a) + b] = Real(0);
        }
      }
    }
  }

  template <class Gain>
  void follow_all(const Unknowns<Real>& z, const Unknowns<Real>& d, Wide alpha, const Real* defect, Gain gain,
                  Unknowns<Wide>& to, Wide* nexts, Wide& cost) {
    take_parameters();
    cost = Wide(0);
    const auto straight = [&](const Real* from, const Real* change, long i)
                              PMP_INLINE_LAMBDA { return fma(alpha, spread_out(change[i]), spread_out(from[i])); };
    for (int a = 0; a < ns_; ++a) to.s[a] = straight(z.s, d.s, a);
    Wide finite(1);
    for (int k = 0; k < p_.steps; ++k) {
      const long at = static_cast<long>(k) * ns_, feed = static_cast<long>(k) * p_.nv;
      Wide *const s = to.s + at, *const v = to.v + feed, *const next = s + ns_;
      for (int j = 0; j < p_.nv; ++j) {
        v[j] = straight(z.v, d.v, feed + j);
        for (int a = 0; a < ns_; ++a) v[j] = fma(spread_out(gain(k, j, a)), s[a] - straight(z.s, d.s, at + a), v[j]);
      }
      const Wide* given;
      if constexpr (span == 1) {
        given = data + k * static_cast<long>(p_.nd);
      } else {
        for (int j = 0; j < (p_.linear_data ? 2 : 1) * p_.nd; ++j)
          d_[j] = spread_out(data[k * static_cast<long>(p_.nd) + j]);
        given = d_;
      }
      Wide* const F = nexts + static_cast<long>(k) * n_;
      cost = cost + stages_.values({s, v, given, Wide(p_.nodes[k]), Wide(p_.nodes[k + 1] - p_.nodes[k])}, F);
      copy(F, next, n_);
      for (int a = n_; a < ns_; ++a) next[a] = p_.linear_control && a < n_ + m_ ? v[a - n_] : s[a];
      Wide kept = finite;
      for (int a = 0; a < ns_; ++a) {
        next[a] = fnma(Wide(1) - alpha, spread_out(defect[at + a]), next[a]);
        const Wide most = fma(Wide(farthest), abs(straight(z.s, d.s, at + ns_ + a)), Wide(farthest));
        kept = select(abs(next[a]) <= most, kept, Wide(0));
      }
      if (PMP_UNLIKELY(!all(kept > Wide(0)))) {
        const auto here = kept > Wide(0);
        for (int a = 0; a < n_; ++a) F[a] = select(here, F[a], Wide(__builtin_inf()) - Wide(__builtin_inf()));
        for (int a = 0; a < ns_; ++a) next[a] = select(here, next[a], straight(z.s, d.s, at + ns_ + a));
        for (int j = 0; j < p_.nv; ++j) v[j] = select(here, v[j], straight(z.v, d.v, feed + j));
        finite = kept;
      }
    }
  }

  // A path that comes so many times farther than the step leads nowhere: what follows from there is not a number, so that nobody takes it, and it
  // goes on along the straight line, where functions are quick.
  static constexpr double farthest = 1e8;

  // A row of z, filled up.
  PMP_INLINE void put_row(const Wide* from, int l, Real* to) const {
    for (int c = 0; c < nz_; ++c) to[c] = lane_of(from[c], l);
    for (int c = nz_; c < row(); ++c) to[c] = Real(0);
  }

  // s_{k+1} from s_k and v_k
  void advance(Unknowns<Real>& z, int k) {
    Real* next = z.s + (k + 1L) * ns_;
    const Step step = steps_from(z, k, 1);
    if constexpr (span == 1) {
      stages_.values(step, next);
    } else {
      stages_.values(step, next_);
      for (int a = 0; a < n_; ++a) next[a] = lane_of(next_[a], 0);
    }
    for (int a = n_; a < ns_; ++a) next[a] = carried(z, k, a);
  }

  // -- points ---------------------------------------------------------------------------------------------------------

  Real result(int i, int l) { return lane_of(stages_.point_rows()[p_.rows_of_points.output + i], l); }
  Real hessian_entry(int e, int l) { return lane_of(stages_.point_rows()[p_.rows_of_points.hessian + e], l); }
  void weigh(int i, int l, Real value) { put(stages_.point_rows()[p_.rows_of_points.weights + i], l, value); }
  void call(point::Function function) { stages_.call(function, stages_.point_rows()); }

  // Node k in lane l: a constant control has its last value at the end, too.
  void enter_node(const Unknowns<Real>& z, int k, int l) {
    const PointRows& at = p_.rows_of_points;
    Wide* rows = stages_.point_rows();
    const Real *s = z.s + static_cast<long>(k) * ns_, *moved = s + ns_ - rest_;
    const int step = k < p_.steps ? k : p_.steps - 1;
    put(rows[at.tau], l, Real(p_.nodes[k]));
    for (int i = 0; i < p_.q; ++i) put(rows[at.theta + i], l, theta[i]);
    for (int i = 0; i < p_.optimised_count; ++i) put(rows[at.theta + p_.optimised[i]], l, moved[i]);
    put(rows[at.t1], l, p_.free_time ? moved[p_.optimised_count] : Real(0));
    for (int a = 0; a < n_; ++a) put(rows[at.x + a], l, s[a]);
    for (int j = 0; j < m_; ++j)
      put(rows[at.u + j], l, p_.linear_control ? s[n_ + j] : z.v[static_cast<long>(step) * p_.nv + j]);
    const Real* d = data + static_cast<long>(p_.linear_data ? k : step) * p_.nd;
    for (int j = 0; j < p_.nd; ++j) put(rows[at.d + j], l, d[j]);
  }

  // c at the nodes from k on.
  void path_values(const Unknowns<Real>& z, int k, point::Function function, Real* path) {
    const int count = lanes_from(k, p_.steps + 1);
    if (p_.paths > 0) {
      for (int l = 0; l < span; ++l) enter_node(z, k + (l < count ? l : count - 1), l);
      call(function);
    }
    for (int l = 0; l < count; ++l) {
      Real* to = path + static_cast<long>(k + l) * p_.rows;
      for (int i = 0; i < p_.rows; ++i) to[i] = i < p_.paths && active(k + l, i) ? result(i, l) : Real(0);
    }
  }

  // Their derivatives, when that has been called with them.
  template <class PathMultiplier>
  void path_slopes(int k, int count, PathMultiplier mu, bool exact, PointSlopes<Real>& slopes) {
    for (int l = 0; l < count; ++l) {
      Real* path = slopes.path + static_cast<long>(k + l) * p_.rows * row();
      for (int e = 0; e < p_.path_jacobian.count; ++e) {
        const int i = p_.path_jacobian.row[e];
        if (active(k + l, i))
          spread(result(p_.paths + e, l), p_.path_jacobian.column[e], k + l, path + static_cast<long>(i) * row());
      }
    }
    if (p_.path_hessian.count == 0 || !exact) return;
    for (int l = 0; l < span; ++l) {
      const int node = k + (l < count ? l : count - 1);
      for (int i = 0; i < p_.paths; ++i)
        weigh(i, l, active(node, i) ? mu(node, i) * Real(p_.path_weights[node * p_.rows + i]) : Real(0));
    }
    call(point::path_hessian);
    for (int l = 0; l < count; ++l)
      add_point_hessian(p_.path_hessian, k + l, l, slopes.hessian + static_cast<long>(k + l) * matrix());
  }

  // out += value (row `j` of dy/dz at node k). A constant control has no row at the end.
  PMP_INLINE void spread(Real value, int j, int k, Real* out) const {
    const int i = component(j, k);
    if (i >= 0) out[i] = out[i] + value;
  }

  // H += Y' E Y at a node, where every argument is one component of z.
  void add_point_hessian(const Entries& where, int k, int l, Real* hessian) {
    for (int e = 0; e < where.count; ++e) {
      const int i = component(where.row[e], k), j = component(where.column[e], k);
      if (i < 0 || j < 0) continue;
      const Real entry = hessian_entry(e, l);
      const auto add = [&](int a, int b) {
        Real& place = hessian[Lay::first(nz_, a) + b];
        place = place + entry;
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

  // One node in all lanes.
  void enter_end(const Unknowns<Real>& z, int k) {
    for (int l = 0; l < span; ++l) enter_node(z, k, l);
  }

  void ends(const Unknowns<Real>& z, point::Function end, point::Function start, PointValues<Real>& found) {
    enter_end(z, p_.steps);
    call(end);
    found.cost = found.cost + result(0, 0);
    for (int i = 0; i < p_.equalities; ++i) found.end[i] = result(1 + i, 0);
    for (int i = p_.paths; i < p_.rows; ++i)
      found.path[static_cast<long>(p_.steps) * p_.rows + i] = result(1 + p_.equalities + i - p_.paths, 0);
    if (!stages_.has(start)) return;
    enter_end(z, 0);
    call(start);
    found.cost = found.cost + result(0, 0);
  }

  template <class PathMultiplier>
  void linearise_ends(const Unknowns<Real>& z, const Real* nu, PathMultiplier mu, Real weight, bool exact,
                      PointValues<Real>& found, PointSlopes<Real>& slopes) {
    ends(z, point::end_slopes, point::start_slopes, found);
    Real* gradient = slopes.gradient;
    if (stages_.has(point::start_slopes)) {  // its rows are still there
      fill(scratch_, Real(0), row());
      for (int e = 0; e < p_.start_jacobian.count; ++e)
        spread(result(1 + e, 0), p_.start_jacobian.column[e], 0, scratch_);
      add_multiple(weight, scratch_, gradient, row());
      if (p_.start_hessian.count > 0) {
        weigh(0, 0, weight);
        call(point::start_hessian);
        add_point_hessian(p_.start_hessian, 0, 0, slopes.hessian);
      }
      enter_end(z, p_.steps);
      call(point::end_slopes);
    }
    const int last = p_.steps;
    fill(slopes.end, Real(0), static_cast<long>(p_.equalities) * Lay::padded(ns_));
    fill(scratch_, Real(0), row());
    for (int e = 0; e < p_.end_jacobian.count; ++e) {
      const int i = p_.end_jacobian.row[e], j = component(p_.end_jacobian.column[e], last);
      if (j < 0) continue;
      const Real entry = result(p_.ends + e, 0);
      if (i == 0) {
        scratch_[j] = scratch_[j] + entry;
      } else if (i <= p_.equalities) {
        slopes.end[static_cast<long>(i - 1) * Lay::padded(ns_) + j] = entry;
      } else {
        const long place = static_cast<long>(last) * p_.rows + p_.paths + i - 1 - p_.equalities;
        slopes.path[place * row() + j] = entry;
      }
    }
    add_multiple(weight, scratch_, gradient + static_cast<long>(last) * row(), row());
    if (p_.end_hessian.count == 0) return;
    weigh(0, 0, weight);
    for (int i = 0; i < p_.equalities; ++i) weigh(1 + i, 0, exact ? nu[i] : Real(0));
    for (int i = p_.paths; i < p_.rows; ++i)
      weigh(1 + p_.equalities + i - p_.paths, 0,
            exact && active(last, i) ? mu(last, i) * Real(p_.path_weights[last * p_.rows + i]) : Real(0));
    call(point::end_hessian);
    add_point_hessian(p_.end_hessian, last, 0, slopes.hessian + static_cast<long>(last) * matrix());
  }

  const NewtonProblem& p_;
  const int n_;
  const int m_;
  const int ns_;
  const int nz_;
  const int rest_;
  NewtonStages<V> stages_;
  Real* scratch_;
  Unknowns<Wide> paths_;  // of one problem alone, for these lengths
  Wide alphas_, costs_;
  Wide *s_ = nullptr, *v_ = nullptr, *d_ = nullptr;  // where several steps are gathered, and what comes of them
  Wide *nexts_ = nullptr, *next_ = nullptr, *costate_ = nullptr, *jacobian_ = nullptr, *gradient_ = nullptr,
       *hessian_ = nullptr;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
