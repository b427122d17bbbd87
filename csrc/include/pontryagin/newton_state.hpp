// Where W problems stand: unknowns and multipliers, what was found at them, their lanes; and what is measured of them.
#pragma once

#include "newton_barrier.hpp"
#include "newton_filter.hpp"
#include "newton_steps.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

enum class NewtonPhase : int {
  idle,        // no problem
  beginning,   // scales are not known
  waiting,     // multipliers have changed: derivatives are of the old ones
  estimating,  // multipliers are not known
  running,
  done,  // written down
};

// One problem.
struct NewtonLane {
  NewtonLane() {}
  NewtonPhase phase = NewtonPhase::idle;
  long problem = 0;
  bool known = false;
  double weight = 1, mu = 1, delta = 0;
  double last_delta = 0, floor = 0, entry = 0;  // Memory of newton.py
  bool restoring = false, lost = false, curved = false, saddle = false;
  int pushes = 0, crawl = 0, restorations = 0;
  int failures = 0, iteration = 0;
  double alpha = 0;
  double dual = 0, primal = 0, complementarity = 0;
  // of a search
  double length = 0, dual_length = 0, shortest = 0, slope = 0, straight = 0;
  Merit at{}, trial{}, reached{};
  bool pending = false, accepted = false, joins = false, tiny = false, taking = false;
  NewtonFilter filter;
  // Merit of the point after a search.
  Merit taken() const { return accepted ? reached : at; }
};

template <int W>
class NewtonState {
 public:
  using Real = TileReal<W>;
  using Lay = RowsOf<W>;
  using Lane = NewtonLane;
  using Phase = NewtonPhase;

  NewtonState(const NewtonProblem& problem, const PointFunctions& point_functions, const NewtonSettings& settings,
              const NewtonBatch& batch_of_problems, Arena& arena)
      : p(problem),
        functions(point_functions),
        set(settings),
        batch(batch_of_problems),
        ns(p.ns),
        nv(p.nv),
        nz(p.nz),
        r(p.equalities),
        count(p.inequality_count()),
        barrier(problem),
        steps(problem, point_functions, arena) {
    z.take(arena, p), trial.take(arena, p);
    values.take(arena, p), trial_values.take(arena, p), slopes.take(arena, p);
    step.take(arena, p), wrong.take(arena, p), trial_wrong.take(arena, p);
    costate = arena.take<Real>((p.steps + 1L) * ns), nu = arena.take<Real>(r);
    sigma = arena.take<Real>(count), lambda = arena.take<Real>(count), trial_sigma = arena.take<Real>(count);
    dsigma = arena.take<Real>(count), dlambda = arena.take<Real>(count);
    scale = arena.take<Real>(nz), unit_end = arena.take<Real>(r), unit_path = arena.take<Real>(p.rows);
    row_of = arena.take<int>((p.steps + 1L) * p.rows);
    lane = arena.take<Lane>(W);
  }

  void prepare() {
    steps.prepare();
    for (long i = 0; i < (p.steps + 1L) * p.rows; ++i) row_of[i] = -1;
    barrier.each([&](int row, int k, const Inequality& one) {
      if (!barrier.is_bound(one)) row_of[barrier.path_row(k, one)] = row;
    });
    for (int l = 0; l < W; ++l) {
      lane[l] = Lane();
      load(l, 0);  // something finite
      lane[l].phase = Phase::idle;
    }
  }

  static PMP_INLINE double& at(Real& value, int l) { return reinterpret_cast<double*>(&value)[l]; }
  static PMP_INLINE double at(const Real& value, int l) { return reinterpret_cast<const double*>(&value)[l]; }
  static double at(double, int) = delete;
  template <class F>
  PMP_INLINE Real gathered(F f) const {
    alignas(64) double numbers[W];
    for (int l = 0; l < W; ++l) numbers[l] = f(lane[l]);
    return Real::load(numbers);
  }
  Real mu() const {
    return gathered([](const Lane& one) { return one.mu; });
  }
  Real weight() const {
    return gathered([](const Lane& one) { return one.weight; });
  }
  bool anyone(Phase phase) const {
    for (int l = 0; l < W; ++l)
      if (lane[l].phase == phase) return true;
    return false;
  }

  // The trials of these lanes become their points.
  template <class Mask>
  PMP_DEVICE_CALL void take_states(Mask mask) {
    const long states = (p.steps + 1L) * ns, controls = static_cast<long>(p.steps) * nv;
    for (long i = 0; i < states; ++i) z.s[i] = select(mask, trial.s[i], z.s[i]);
    for (long i = 0; i < controls; ++i) z.v[i] = select(mask, trial.v[i], z.v[i]);
  }

  static double clipped(double value, double middle, double factor) {
    const double low = middle / factor, high = middle * factor;
    return value < low ? low : value > high ? high : value;
  }

  // Numbers of a row of z.
  PMP_INLINE int row() const { return Lay::padded(nz); }

  PMP_DEVICE_CALL void find_residuals(const Unknowns<Real>& z, const PointValues<Real>& values, const Real* sigma,
                                      Residuals<Real>& wrong) {
    for (int k = 0; k < p.steps; ++k) {
      const Real* following = z.s + (k + 1L) * ns;
      Real* defect = wrong.defect + static_cast<long>(k) * ns;
      for (int a = 0; a < ns; ++a)
        defect[a] = (a < p.n ? values.next[static_cast<long>(k) * p.n + a] : steps.carried(z, k, a)) - following[a];
    }
    for (int a = 0; a < ns; ++a) wrong.initial[a] = p.free[a] ? Real(0) : steps.initial[a] - z.s[a];
    for (int i = 0; i < r; ++i) wrong.end[i] = values.end[i];
    barrier.residual(values.path, sigma, wrong.path);
  }

  // -- measures ------------------------------------------------------------------------------------------------------

  static PMP_INLINE Real worse(Real a, Real b) { return max(a, b); }  // not a number if either is

  // The largest residual, scaled; of the dynamics, by the size of the states where that is more.
  Real violation(const Residuals<Real>& wrong) const {
    Real worst(0);
    for (int a = 0; a < ns; ++a) {
      Real unit = scale[a], largest = abs(wrong.initial[a]);
      for (int k = 0; k <= p.steps; ++k) unit = worse(unit, abs(z.s[static_cast<long>(k) * ns + a]));
      for (int k = 0; k < p.steps; ++k) largest = worse(largest, abs(wrong.defect[static_cast<long>(k) * ns + a]));
      worst = worse(worst, largest / unit);
    }
    for (int i = 0; i < r; ++i) worst = worse(worst, abs(wrong.end[i] / unit_end[i]));
    for (int k = 0; k <= p.steps; ++k)
      for (int i = 0; i < p.rows; ++i)
        worst = worse(worst, abs(wrong.path[static_cast<long>(k) * p.rows + i] / unit_path[i]));
    return worst;
  }

  PMP_DEVICE_CALL Real sum_of_violations(const Residuals<Real>& wrong) const {
    Real total(0);
    for (int a = 0; a < ns; ++a) {
      Real sum = abs(wrong.initial[a]);
      for (int k = 0; k < p.steps; ++k) sum = sum + abs(wrong.defect[static_cast<long>(k) * ns + a]);
      total = total + sum / scale[a];
    }
    Real square(0);
    for (int i = 0; i < r; ++i) square = fma(wrong.end[i] / unit_end[i], wrong.end[i] / unit_end[i], square);
    if (r > 0) total = fma(Real(__builtin_sqrt(static_cast<double>(r))), sqrt(square), total);
    for (int k = 0; k <= p.steps; ++k)
      for (int i = 0; i < p.rows; ++i)
        total = fma(Real(p.path_weights[k * p.rows + i]),
                    abs(wrong.path[static_cast<long>(k) * p.rows + i] / unit_path[i]), total);
    return total;
  }

  void total_violation(const Residuals<Real>& wrong, double* theta) const {
    const Real total = sum_of_violations(wrong);
    for (int l = 0; l < W; ++l) theta[l] = at(total, l);
  }

  PMP_DEVICE_CALL void merit_of(const PointValues<Real>& values, const Residuals<Real>& wrong, const Real* sigma,
                                Merit* merit) const {
    const Real theta = sum_of_violations(wrong);
    const Real phi = fnma(mu(), barrier.logarithms(sigma), weight() * values.cost);
    for (int l = 0; l < W; ++l) merit[l] = {at(theta, l), at(phi, l)};
  }

  // Of dynamics, ends and path constraints, and by how far bounds are crossed.
  PMP_DEVICE_CALL void start_violation(const Unknowns<Real>& z, const PointValues<Real>& values, double* found) {
    barrier.each([&](int row, int k, const Inequality& one) {
      if (barrier.is_bound(one)) return;
      const Real c = values.path[barrier.path_row(k, one)];
      trial_sigma[row] = select(c < Real(0), -c, Real(0));
    });
    find_residuals(z, values, trial_sigma, trial_wrong);
    Real total = sum_of_violations(trial_wrong);
    barrier.each([&](int, int k, const Inequality& one) {
      if (!barrier.is_bound(one)) return;
      const int i = one.index < nz ? one.index : one.index - nz;
      const Real gap = barrier.gap(z, k, one);
      total = fma(Real(p.weights[k]), select(gap < Real(0), -gap, Real(0)) / scale[i], total);
    });
    for (int l = 0; l < W; ++l) found[l] = at(total, l);
  }

  // From the derivatives at the guess with weight one and no multipliers: pontryagin/optim/newton/scaling.py.
  PMP_DEVICE_CALL void measure_scales(int l) {
    Lane& one = lane[l];
    const double infinity = __builtin_inf();
    for (int i = 0; i < nz; ++i) {
      double largest = 0;
      for (int k = 0; k < p.steps + (i < ns ? 1 : 0); ++k) {
        const double value = __builtin_fabs(at(barrier.component(z, k, i), l));
        if (!(value <= largest)) largest = value;
      }
      const double half = p.half_width[i];
      if (p.control[i]) largest = half < infinity ? half : largest > 1 ? largest : 1;
      if (!(largest > 1e-3)) largest = half < infinity && half > 0 ? half : 1;
      at(scale[i], l) = largest;
    }
    double slope = 0, curvature = 0;
    const auto most = [](double& so_far, double value) {
      if (!(value <= so_far)) so_far = value;
    };
    for (int k = 0; k <= p.steps; ++k)
      for (int i = 0; i < nz; ++i) {
        // The last node has the cost of the end alone, which no weight stands in front of.
        const double own = at(scale[i], l), unit = own / (k < p.steps ? p.weights[k] : 1.0);
        most(slope, __builtin_fabs(at(slopes.gradient[static_cast<long>(k) * row() + i], l) * unit));
        const Real& diagonal = slopes.hessian[static_cast<long>(k) * Lay::all(nz) + Lay::first(nz, i) + i];
        most(curvature, __builtin_fabs(at(diagonal, l)) * unit * own);
      }
    double cost = __builtin_fabs(at(values.cost, l));
    most(cost, slope);
    if (!(cost > 1e-12)) cost = curvature;
    if (!(cost - cost == 0) || !(cost > 0)) cost = 1;
    one.weight = 1 / cost < 1e-8 ? 1e-8 : 1 / cost > 1e4 ? 1e4 : 1 / cost;
    const auto unit = [](double square) {
      const double norm = __builtin_sqrt(square);
      return norm - norm == 0 && norm > 0 ? norm : 1.0;
    };
    for (int i = 0; i < r; ++i) {
      double square = 0;
      for (int a = 0; a < ns; ++a) {
        const double entry = at(slopes.end[static_cast<long>(i) * Lay::padded(ns) + a], l) * at(scale[a], l);
        square += entry * entry;
      }
      at(unit_end[i], l) = unit(square);
    }
    for (int i = 0; i < p.rows; ++i) {
      double worst = 0;
      for (int k = 0; k <= p.steps; ++k) {
        double square = 0;
        for (int a = 0; a < nz; ++a) {
          const double entry = at(slopes.path[(static_cast<long>(k) * p.rows + i) * row() + a], l) * at(scale[a], l);
          square += entry * entry;
        }
        most(worst, square);
      }
      at(unit_path[i], l) = unit(worst);
    }
  }

  // -- between lanes and the batch -----------------------------------------------------------------------------------

  PMP_DEVICE_CALL void load(int l, long problem) {
    Lane& one = lane[l];
    one = Lane();
    one.problem = problem, one.phase = Phase::beginning;
    one.known = set.warm && batch.known != nullptr && batch.known[problem] != 0;
    const auto put = [l](Real* rows, const double* from, long count) {
      PMP_DEVICE_ROLLED
      for (long i = 0; i < count; ++i) at(rows[i], l) = from[i];
    };
    put(steps.initial, batch.initial + problem * ns, ns), put(steps.theta, batch.theta + problem * p.q, p.q);
    const long rows = p.linear_data ? p.steps + 1L : p.steps;
    if (p.nd > 0) put(steps.data, batch.data + problem * batch.data_stride, rows * p.nd);
    put(z.s, batch.state + problem * (p.steps + 1L) * ns, (p.steps + 1L) * ns);
    put(z.v, batch.control + problem * p.steps * nv, static_cast<long>(p.steps) * nv);
    for (long i = 0; i < (p.steps + 1L) * ns; ++i) at(costate[i], l) = 0;
    for (int i = 0; i < r; ++i) at(nu[i], l) = 0, at(unit_end[i], l) = 1;
    for (int i = 0; i < p.rows; ++i) at(unit_path[i], l) = 1;
    for (int i = 0; i < nz; ++i) at(scale[i], l) = 1;
    for (int row = 0; row < count; ++row) at(lambda[row], l) = 0, at(sigma[row], l) = 1;
    if (set.inside) move_inside(l, one.known ? 1e-9 : 1e-2);
  }

  // Moves a problem strictly inside of its bounds.
  void move_inside(int l, double push) {
    for (int k = 0; k <= p.steps; ++k)
      for (int i = 0; i < (k < p.steps ? nz : ns); ++i) {
        const double low = p.low[k * nz + i], high = p.high[k * nz + i];
        const double width = high - low;
        const auto pushed = [&](double bound) {
          const double size = __builtin_fabs(bound) > 1 ? __builtin_fabs(bound) : 1;
          return push * size < push * width ? push * size : push * width;
        };
        const double below = low > -__builtin_inf() ? low + pushed(low) : low;
        const double above = high < __builtin_inf() ? high - pushed(high) : high;
        double& value = at(barrier.component(z, k, i), l);
        if (value < below) value = below;
        if (value > above) value = above;
      }
  }

  void store_point(int l) {
    const long problem = lane[l].problem;
    double *s = batch.state + problem * (p.steps + 1L) * ns, *v = batch.control + problem * p.steps * nv;
    for (long i = 0; i < (p.steps + 1L) * ns; ++i) s[i] = at(z.s[i], l);
    for (long i = 0; i < static_cast<long>(p.steps) * nv; ++i) v[i] = at(z.v[i], l);
  }

  PMP_DEVICE_CALL void store(int l, NewtonStatus status) {
    const Lane& one = lane[l];
    const long b = one.problem, all = 2L * nz + p.rows;
    store_point(l);
    for (long i = 0; i < (p.steps + 1L) * ns; ++i)
      batch.costate[b * (p.steps + 1L) * ns + i] = at(costate[i], l) / one.weight;
    for (int i = 0; i < r; ++i) batch.end[b * r + i] = at(nu[i], l) / one.weight;
    double* slacks = batch.sigma + b * (p.steps + 1L) * all;
    double* multipliers = batch.multiplier + b * (p.steps + 1L) * all;
    for (long i = 0; i < (p.steps + 1L) * all; ++i) slacks[i] = 1, multipliers[i] = 0;
    barrier.each([&](int row, int k, const Inequality& inequality) {
      const long place = k * all + inequality.index;
      slacks[place] = at(sigma[row], l), multipliers[place] = at(lambda[row], l) / one.weight;
    });
    double* measures = batch.measures + 4 * b;
    measures[0] = at(values.cost, l), measures[1] = one.dual, measures[2] = one.primal,
    measures[3] = one.complementarity;
    for (int i = 0; i < nz; ++i) batch.scale_z[b * nz + i] = at(scale[i], l);
    batch.scale_weight[b] = one.weight;
    for (int i = 0; i < r; ++i) batch.scale_end[b * r + i] = at(unit_end[i], l);
    for (int i = 0; i < p.rows; ++i) batch.scale_path[b * p.rows + i] = at(unit_path[i], l);
    batch.status[b] = static_cast<int>(status), batch.iterations[b] = one.iteration;
  }

  static constexpr double pushed = 1e-2;   // of the scales, by which a saddle is left
  static constexpr double central = 1e10;  // multipliers stay within this factor of mu / sigma

  const NewtonProblem& p;
  const PointFunctions& functions;
  const NewtonSettings& set;
  const NewtonBatch& batch;
  const int ns;
  const int nv;
  const int nz;
  const int r;
  const int count;  // of inequalities
  NewtonBarrier<W> barrier;
  NewtonSteps<W> steps;
  Unknowns<Real> z, trial;
  PointValues<Real> values, trial_values;
  PointSlopes<Real> slopes;
  NewtonStep<Real> step;
  Residuals<Real> wrong, trial_wrong;
  Real *costate, *nu;                  // [N+1][ns], [r]
  Real *sigma, *lambda, *trial_sigma;  // a row for each inequality
  Real *dsigma, *dlambda;              // like them
  Real *scale, *unit_end, *unit_path;  // [nz], [r], [rows]
  int* row_of;                         // [N+1][rows] the inequality, or -1
  Lane* lane;                          // [W]
};

}  // namespace PMP_ISA
}  // namespace pontryagin
