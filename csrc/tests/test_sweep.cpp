// Random models through the whole compiled path: recorded, assembled, linked, swept. Compared with themselves at other
// batch sizes (to the bit), with central differences, and run under the sanitizers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "cpu/sweeper.hpp"

namespace {

using namespace pontryagin;

int failures = 0;

void expect(bool condition, const char* what, int model) {
  if (condition) return;
  ++failures;
  std::printf("model %d: %s\n", model, what);
}

Tableau rk4() {
  Tableau t;
  t.stages = 4;
  t.a[1][0] = 0.5, t.a[2][1] = 0.5, t.a[3][2] = 1.0;
  t.b[0] = t.b[3] = 1.0 / 6, t.b[1] = t.b[2] = 1.0 / 3;
  t.c[1] = t.c[2] = 0.5, t.c[3] = 1.0;
  return t;
}

// A graph that is differentiated along with being written: node i has derivatives in every input.
class Writer {
 public:
  int add(int op, int a = -1, int b = -1, int c = -1, double value = 0.0) {
    code.op.push_back(op), code.a.push_back(a), code.b.push_back(b), code.c.push_back(c), code.value.push_back(value);
    return static_cast<int>(code.op.size()) - 1;
  }
  int input(Group group, int index) { return add(static_cast<int>(Op::input), static_cast<int>(group), index); }
  int constant(double value) { return add(static_cast<int>(Op::constant), -1, -1, -1, value); }
  int apply(Op op, int a, int b = -1) { return add(static_cast<int>(op), a, b); }
  Code code;
};

// Terms k s(a) b with s one of 1, sin, tanh over the inputs; the derivative of sum_j m_j (its terms) is written beside.
struct Term {
  double k;
  int shape, a, b;
};

struct RandomModel {
  ModelCode code;
  RandomModel(std::mt19937& random, int n, int m, int q, int nd, int equalities, int inequalities) {
    code.sizes = {n, m, q, nd, equalities, equalities + inequalities};
    std::vector<std::pair<Group, int>> names;
    for (int i = 0; i < n; ++i) names.push_back({Group::x, i});
    for (int i = 0; i < m; ++i) names.push_back({Group::u, i});
    for (int i = 0; i < q; ++i) names.push_back({Group::theta, i});
    names.push_back({Group::t, 0});
    const int differentiable = static_cast<int>(names.size());
    for (int i = 0; i < nd; ++i) names.push_back({Group::d, i});
    make(random, names, differentiable, n + 1, code.dynamics, code.pullback, Group::m, Group::w, n);
    std::vector<std::pair<Group, int>> end;
    for (int i = 0; i < n; ++i) end.push_back({Group::x, i});
    for (int i = 0; i < q; ++i) end.push_back({Group::theta, i});
    end.push_back({Group::t, 0});
    const int r = equalities + inequalities;
    make(random, end, static_cast<int>(end.size()), 1 + r, code.terminal, code.terminal_pullback, Group::omega,
         Group::omega, r + 1);
    code.validate();
  }

  static void make(std::mt19937& random, const std::vector<std::pair<Group, int>>& names, int differentiable, int rows,
                   Code& primal, Code& pullback, Group weights, Group last_weight, int weight_count) {
    std::uniform_real_distribution<double> coefficient(-1.0, 1.0);
    std::uniform_int_distribution<int> pick(0, static_cast<int>(names.size()) - 1), shape(0, 2);
    std::vector<std::vector<Term>> terms(static_cast<std::size_t>(rows));
    for (auto& row : terms)
      for (int k = 0; k < 3; ++k) row.push_back({coefficient(random), shape(random), pick(random), pick(random)});

    Writer f, g;
    const auto inputs = [&names](Writer& w) {
      std::vector<int> ids;
      for (const auto& [group, index] : names) ids.push_back(w.input(group, index));
      return ids;
    };
    const std::vector<int> x = inputs(f), y = inputs(g);
    for (const auto& row : terms) {
      int sum = f.constant(0.25);
      for (const Term& term : row)
        sum = f.apply(
            Op::add, sum,
            f.apply(Op::mul, f.apply(Op::mul, f.constant(term.k), shaped(f, term.shape, x[term.a])), x[term.b]));
      primal.outputs.push_back(sum);
    }
    std::vector<int> derivative(names.size(), -1);
    for (int j = 0; j < rows; ++j) {
      const int weight = j < weight_count ? g.input(weights, j) : g.input(last_weight, 0);
      for (const Term& term : terms[static_cast<std::size_t>(j)]) {
        const int scaled = g.apply(Op::mul, g.constant(term.k), weight);
        accumulate(g, derivative[term.b], g.apply(Op::mul, scaled, shaped(g, term.shape, y[term.a])));
        accumulate(g, derivative[term.a],
                   g.apply(Op::mul, g.apply(Op::mul, scaled, slope(g, term.shape, y[term.a])), y[term.b]));
      }
    }
    for (int i = 0; i < differentiable; ++i)
      pullback.outputs.push_back(derivative[static_cast<std::size_t>(i)] < 0 ? g.constant(0.0)
                                                                             : derivative[static_cast<std::size_t>(i)]);
    const std::vector<std::int32_t> f_outputs = primal.outputs, g_outputs = pullback.outputs;
    primal = f.code, pullback = g.code;
    primal.outputs = f_outputs, pullback.outputs = g_outputs;
  }
  static int shaped(Writer& w, int shape, int a) {
    return shape == 0 ? a : w.apply(shape == 1 ? Op::sin : Op::tanh, a);
  }
  static int slope(Writer& w, int shape, int a) {
    if (shape == 0) return w.constant(1.0);
    if (shape == 1) return w.apply(Op::cos, a);
    const int tanh = w.apply(Op::tanh, a);
    return w.apply(Op::sub, w.constant(1.0), w.apply(Op::mul, tanh, tanh));
  }
  static void accumulate(Writer& w, int& sum, int term) { sum = sum < 0 ? term : w.apply(Op::add, sum, term); }
};

template <class T>
struct Data {
  int steps, batch, control_nodes, data_nodes;
  std::vector<double> tau;
  std::vector<T> control, x0, t1, theta, data, nu, rho, weight, cotangent;
  std::vector<T> objective, lagrangian, terminal, state, costate, control_d, x0_d, theta_d, t1_d;

  Data(std::mt19937& random, const ModelSizes& s, int steps_, int batch_, const SweepRequest& request)
      : steps(steps_),
        batch(batch_),
        control_nodes(steps_ + request.linear_control),
        data_nodes(steps_ + request.linear_data) {
    std::uniform_real_distribution<double> unit(-1.0, 1.0), positive(0.5, 1.5);
    tau.push_back(0.0);
    for (int k = 0; k < steps; ++k) tau.push_back(tau.back() + (request.uniform ? 1.0 : positive(random)));
    for (double& node : tau) node /= tau[static_cast<std::size_t>(steps)];
    const auto fill = [&](std::vector<T>& v, long size, auto& distribution) {
      v.resize(static_cast<std::size_t>(size));
      for (T& value : v) value = static_cast<T>(distribution(random));
    };
    const long b = batch;
    fill(control, b * control_nodes * s.m, unit), fill(x0, b * s.n, unit), fill(t1, b, positive),
        fill(theta, b * s.q, unit);
    fill(data, b * data_nodes * s.nd, unit), fill(nu, b * s.r, unit), fill(rho, b * s.r, positive);
    fill(weight, b, positive), fill(cotangent, b * (steps + 1) * s.n, unit);
    objective.resize(b), lagrangian.resize(b), terminal.resize(b * s.r), state.resize(b * (steps + 1) * s.n);
    costate.resize(b * (steps + 1) * s.n), control_d.resize(control.size()), x0_d.resize(x0.size());
    theta_d.resize(theta.size()), t1_d.resize(b);
  }

  SweepJob<T> job(const SweepRequest& request, long first, const ModelSizes& s) {
    SweepJob<T> j;
    j.steps = steps, j.tau = tau.data(), j.t0 = 0.25;
    j.control = control.data() + first * control_nodes * s.m, j.control_stride = static_cast<long>(control_nodes) * s.m;
    j.initial_state = x0.data() + first * s.n, j.final_time = t1.data() + first,
    j.parameters = theta.data() + first * s.q;
    j.data = data.data() + first * data_nodes * s.nd, j.data_stride = static_cast<long>(data_nodes) * s.nd;
    j.multipliers = nu.data() + first * s.r, j.penalties = rho.data() + first * s.r;
    const long path = static_cast<long>(steps + 1) * s.n;
    if (request.extended)
      j.objective_cotangent = weight.data() + first, j.state_cotangent = cotangent.data() + first * path;
    j.objective = objective.data() + first, j.lagrangian = lagrangian.data() + first,
    j.terminal = terminal.data() + first * s.r;
    j.state = state.data() + first * path;
    if (!request.backward) return j;
    j.costate = costate.data() + first * path, j.control_derivative = control_d.data() + first * control_nodes * s.m;
    j.initial_state_derivative = x0_d.data() + first * s.n;
    if (request.extended)
      j.parameter_derivative = theta_d.data() + first * s.q, j.final_time_derivative = t1_d.data() + first;
    return j;
  }

  // What the derivatives differentiate: J_a + sum of cotangents times states.
  double value(int problem, const ModelSizes& s, bool extended) const {
    double sum = static_cast<double>(lagrangian[static_cast<std::size_t>(problem)]);
    const long path = static_cast<long>(steps + 1) * s.n;
    if (extended)
      for (long i = 0; i < path; ++i)
        sum += static_cast<double>(cotangent[static_cast<std::size_t>(problem * path + i)]) *
               static_cast<double>(state[static_cast<std::size_t>(problem * path + i)]);
    return sum;
  }
};

void same_bits_at_every_batch_size(Sweeper& sweeper, const SweepRequest& request, std::mt19937& random, int model) {
  const ModelSizes& s = sweeper.programs().sizes;
  const int batch = 1 + static_cast<int>(random() % 90), steps = 1 + static_cast<int>(random() % 7);
  Data<double> whole(random, s, steps, batch, request);
  sweeper.run(whole.job(request, 0, s), batch, 2, nullptr);
  const Data<double> kept = whole;
  for (int i = 0; i < batch; ++i) sweeper.run(whole.job(request, i, s), 1, 1, nullptr);
  expect(kept.lagrangian == whole.lagrangian && kept.state == whole.state && kept.terminal == whole.terminal &&
             kept.costate == whole.costate && kept.control_d == whole.control_d && kept.x0_d == whole.x0_d &&
             kept.theta_d == whole.theta_d && kept.t1_d == whole.t1_d,
         "a batch of one differs from the same problem in a batch", model);
  Data<float> single(random, s, steps, batch, request);
  sweeper.run(single.job(request, 0, s), batch, 1, nullptr);
  expect(std::isfinite(single.lagrangian[0]), "float32 is not finite", model);
}

void derivatives_match_central_differences(Sweeper& sweeper, const SweepRequest& request, std::mt19937& random,
                                           int model) {
  const ModelSizes& s = sweeper.programs().sizes;
  Data<double> at(random, s, 4, 3, request);
  if (!request.extended) std::fill(at.weight.begin(), at.weight.end(), 1.0);
  sweeper.run(at.job(request, 0, s), at.batch, 1, nullptr);
  const double step = 1e-6, tolerance = 1e-7;  // rounding 1e-16 / 1e-6 and truncation 1e-12, times values of order one
  const auto check = [&](std::vector<double> Data<double>::* argument, const std::vector<double>& derivative,
                         const char* what) {
    const long per_problem = static_cast<long>((at.*argument).size()) / at.batch;
    for (long i = 0; i < std::min<long>(per_problem, 6); ++i) {
      const long index = per_problem + i * per_problem / std::min<long>(per_problem, 6);  // of the second problem
      Data<double> up = at, down = at;
      (up.*argument)[static_cast<std::size_t>(index)] += step,
          (down.*argument)[static_cast<std::size_t>(index)] -= step;
      sweeper.run(up.job(request, 0, s), up.batch, 1, nullptr),
          sweeper.run(down.job(request, 0, s), down.batch, 1, nullptr);
      // omega_0 J + constraint terms: the lagrangian carries the weight itself.
      const double difference = (up.value(1, s, request.extended) - down.value(1, s, request.extended)) / (2 * step);
      const double scale = 1.0 + std::fabs(difference);
      if (std::fabs(difference - derivative[static_cast<std::size_t>(index)]) > tolerance * scale)
        expect(false, what, model);
    }
  };
  check(&Data<double>::control, at.control_d, "derivative in the control");
  check(&Data<double>::x0, at.x0_d, "derivative in the initial state");
  if (request.extended && s.q > 0) check(&Data<double>::theta, at.theta_d, "derivative in the parameters");
  if (request.extended) check(&Data<double>::t1, at.t1_d, "derivative in the final time");
}

}  // namespace

int main() {
  std::mt19937 random(7);
  const auto between = [&random](int low, int high) {
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  for (int model = 0; model < 40; ++model) {
    const RandomModel made(random, between(1, 5), between(1, 3), between(0, 3), between(0, 2), between(0, 2),
                           between(0, 2));
    SweepRequest request;
    request.linear_control = random() % 2 != 0, request.linear_data = random() % 2 != 0;
    request.backward = model % 5 != 0, request.keep_state = request.backward,
    request.extended = request.backward && random() % 2 != 0;
    request.uniform = random() % 2 != 0;
    Sweeper sweeper(made.code, rk4(), 0.25, request);
    same_bits_at_every_batch_size(sweeper, request, random, model);
    if (request.backward) derivatives_match_central_differences(sweeper, request, random, model);
  }
  std::printf(failures == 0 ? "all sweeps agree\n" : "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
