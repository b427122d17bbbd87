// Sweeps of multilayer perceptrons against a slow twin: one sample at a time, plain loops, in double.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"
#include "cpu/mlp_sweeper.hpp"

using namespace pontryagin;

namespace {

double random_number() {
  static unsigned long long state = 1;
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return static_cast<double>(state >> 11) / 9007199254740992.0 * 2.0 - 1.0;
}

void sigma(Activation activation, double x, double& z, double& slope) {
  const double pi = std::acos(-1.0), root = std::sqrt(2.0 / pi);
  switch (activation) {
    case Activation::identity: z = x, slope = 1; return;
    case Activation::tanh: z = std::tanh(x), slope = 1 - z * z; return;
    case Activation::relu: z = x > 0 ? x : 0, slope = x > 0; return;
    case Activation::gelu:
      z = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      slope = 0.5 * (1 + std::erf(x / std::sqrt(2.0))) + x * std::exp(-x * x / 2) / std::sqrt(2 * pi);
      return;
    case Activation::gelu_tanh: {
      const double t = std::tanh(root * (x + 0.044715 * x * x * x));
      z = 0.5 * x * (1 + t), slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x);
      return;
    }
    case Activation::silu: slope = 1 / (1 + std::exp(-x)), z = x * slope, slope += z * (1 - slope); return;
    case Activation::softplus:
      z = x > 20 ? x : std::log1p(std::exp(x)), slope = x > 20 ? 1 : 1 / (1 + std::exp(-x));
      return;
    case Activation::sin: z = std::sin(x), slope = std::cos(x); return;
  }
}

struct Problem {
  std::vector<int> widths, activations;
  std::vector<bool> bias;
  bool time;
  Tableau tableau;
  MlpCost running;
  int steps, weight_rows;
  long batch;
  std::vector<double> length;
  std::vector<int> rows;
  std::vector<std::vector<double>> w, b;  // [layer][row, out, columns], [layer][row, out]
  std::vector<double> x0, target;
  double scale = 0.3, cost_scale = 0.6, t0 = 0.1;

  int layers() const { return static_cast<int>(activations.size()); }
  int columns(int l) const { return widths[l] + (time && l == 0); }
};

struct Result {
  double value = 0.0;
  std::vector<double> final_state, initial_gradient;
  std::vector<std::vector<double>> w, b;
};

using Vector = std::vector<double>;

// Every output and slope of f at one point.
struct Point {
  Vector x;
  double t;
  int row;
  std::vector<Vector> z, slope;
};

Point evaluate(const Problem& p, const Vector& x, double t, int row) {
  Point point{x, t, row, {}, {}};
  Vector in = x;
  if (p.time) in.push_back(t);
  for (int l = 0; l < p.layers(); ++l) {
    const int out = p.widths[l + 1], columns = p.columns(l);
    Vector z(out), slope(out);
    for (int j = 0; j < out; ++j) {
      double a = p.bias[l] ? p.b[l][row * out + j] : 0.0;
      for (int k = 0; k < columns; ++k) a += p.w[l][(row * out + j) * columns + k] * in[k];
      sigma(static_cast<Activation>(p.activations[l]), a, z[j], slope[j]);
    }
    point.z.push_back(z), point.slope.push_back(slope);
    in = z;
  }
  return point;
}

// f_x' m, and f_w' m added to the result.
Vector pull_back(const Problem& p, const Point& point, Vector m, Result& result) {
  for (int l = p.layers(); l-- > 0;) {
    const int out = p.widths[l + 1], columns = p.columns(l);
    Vector in = l == 0 ? point.x : point.z[l - 1], g(p.widths[l], 0.0);
    if (p.time && l == 0) in.push_back(point.t);
    for (int j = 0; j < out; ++j) {
      const double d = m[j] * point.slope[l][j];
      if (p.bias[l]) result.b[l][point.row * out + j] += d;
      for (int k = 0; k < columns; ++k) {
        const long at = (static_cast<long>(point.row) * out + j) * columns + k;
        result.w[l][at] += d * in[k];
        if (k < p.widths[l]) g[k] += p.w[l][at] * d;
      }
    }
    m = g;
  }
  return m;
}

Result twin(const Problem& p) {
  Result result;
  const int dim = p.widths[0], s = p.tableau.stages;
  for (int l = 0; l < p.layers(); ++l) result.w.emplace_back(p.w[l].size()), result.b.emplace_back(p.b[l].size());
  for (long sample = 0; sample < p.batch; ++sample) {
    Vector x(p.x0.begin() + sample * dim, p.x0.begin() + (sample + 1) * dim);
    std::vector<Point> points;
    double t = p.t0, cost = 0.0;
    for (int n = 0; n < p.steps; ++n) {
      const double h = p.length[n];
      Vector next = x;
      for (int i = 0; i < s; ++i) {
        Vector stage = x;
        for (int j = 0; j < i; ++j)
          for (int d = 0; d < dim; ++d) stage[d] += h * p.tableau.a[i][j] * points[points.size() - i + j].z.back()[d];
        points.push_back(evaluate(p, stage, t + p.tableau.c[i] * h, p.rows[n * s + i]));
        for (int d = 0; d < dim; ++d) {
          const double f = points.back().z.back()[d];
          next[d] += h * p.tableau.b[i] * f;
          cost += h * p.tableau.b[i] * 0.5 * (p.running.state * stage[d] * stage[d] + p.running.velocity * f * f);
        }
      }
      x = next, t += h;
    }
    Vector costate(dim);
    for (int d = 0; d < dim; ++d) {
      const double e = x[d] - p.target[sample * dim + d];
      result.value += p.scale * e * e;
      costate[d] = 2 * p.scale * e;
      result.final_state.push_back(x[d]);
    }
    result.value += p.cost_scale * cost;
    for (int n = p.steps; n-- > 0;) {
      const double h = p.length[n];
      std::vector<Vector> g(s);
      for (int i = s; i-- > 0;) {
        const Point& point = points[n * s + i];
        const double weight = h * p.tableau.b[i];
        Vector m(dim);
        for (int d = 0; d < dim; ++d) {
          m[d] = weight * (costate[d] + p.cost_scale * p.running.velocity * point.z.back()[d]);
          for (int j = i + 1; j < s; ++j) m[d] += h * p.tableau.a[j][i] * g[j][d];
        }
        g[i] = pull_back(p, point, m, result);
        for (int d = 0; d < dim; ++d) g[i][d] += weight * p.cost_scale * p.running.state * point.x[d];
      }
      for (int i = 0; i < s; ++i)
        for (int d = 0; d < dim; ++d) costate[d] += g[i][d];
    }
    result.initial_gradient.insert(result.initial_gradient.end(), costate.begin(), costate.end());
  }
  return result;
}

Tableau rk4() {
  Tableau t;
  t.stages = 4;
  t.a[1][0] = t.a[2][1] = 0.5, t.a[3][2] = 1.0;
  t.b[0] = t.b[3] = 1.0 / 6.0, t.b[1] = t.b[2] = 1.0 / 3.0;
  t.c[1] = t.c[2] = 0.5, t.c[3] = 1.0;
  return t;
}

// The midpoint rule: its first stage has no weight.
Tableau midpoint() {
  Tableau t;
  t.stages = 2;
  t.a[1][0] = t.c[1] = 0.5, t.b[1] = 1.0;
  return t;
}

Problem make(std::vector<int> widths, std::vector<Activation> activations, long batch, bool per_stage,
             const Tableau& tableau, MlpCost running = {}, int steps = 3) {
  Problem p;
  p.widths = std::move(widths), p.batch = batch, p.tableau = tableau, p.running = running, p.steps = steps;
  for (const Activation a : activations) p.activations.push_back(static_cast<int>(a));
  for (int l = 0; l < p.layers(); ++l) p.bias.push_back(l != 1);
  p.time = p.widths[0] != 4;
  const int stages = p.steps * tableau.stages;
  p.weight_rows = per_stage ? stages : 1;
  for (int i = 0; i < stages; ++i) p.rows.push_back(per_stage ? stages - 1 - i : 0);
  for (int n = 0; n < p.steps; ++n) p.length.push_back((0.3 + 0.02 * n) * 3 / p.steps);
  for (int l = 0; l < p.layers(); ++l) {
    const double size = 1.5 / std::sqrt(static_cast<double>(p.columns(l)));
    p.w.emplace_back(static_cast<std::size_t>(p.weight_rows) * p.widths[l + 1] * p.columns(l));
    p.b.emplace_back(static_cast<std::size_t>(p.weight_rows) * p.widths[l + 1]);
    for (double& value : p.w.back()) value = size * random_number();
    for (double& value : p.b.back()) value = 0.5 * random_number();
  }
  for (long i = 0; i < batch * p.widths[0]; ++i) p.x0.push_back(random_number()), p.target.push_back(random_number());
  return p;
}

template <class T>
struct Arrays {
  std::vector<std::vector<T>> values;
  std::vector<T*> pointers;
  explicit Arrays(const std::vector<std::vector<double>>& from) {
    for (const auto& one : from) values.emplace_back(one.begin(), one.end());
    for (auto& one : values) pointers.push_back(one.data());
  }
};

double worst(const std::vector<double>& exact, const double* found) {
  double size = 1e-3, error = 0.0;
  for (const double value : exact) size = std::max(size, std::fabs(value));
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double e = std::fabs(found[i] - exact[i]);
    error = e <= error ? error : e;  // not a number counts
  }
  return error / size;
}
template <class T>
double worst(const std::vector<double>& exact, const std::vector<T>& found) {
  const std::vector<double> all(found.begin(), found.end());
  return worst(exact, all.data());
}

template <class T>
void compare(const Problem& p, const char* what, double tolerance) {
  const Result exact = twin(p);
  MlpSweeper sweeper(p.widths, p.activations, p.bias, p.time, p.tableau, p.running);
  const Arrays<T> w(p.w), b(p.b);
  Arrays<T> gw(p.w), gb(p.b);
  const std::vector<T> x0(p.x0.begin(), p.x0.end()), target(p.target.begin(), p.target.end());
  std::vector<T> x1(x0.size()), g0(x0.size());
  MlpJob<T> job;
  job.steps = p.steps, job.t0 = p.t0, job.length = p.length.data(), job.rows = p.rows.data();
  job.weights = {w.pointers.data(), b.pointers.data()};
  job.initial_state = x0.data(), job.target = target.data();
  job.scale = p.scale, job.cost_scale = p.cost_scale, job.backward = true;
  job.final_state = x1.data(), job.initial_gradient = g0.data();
  const MlpGradient<T> gradient{gw.pointers.data(), gb.pointers.data()};
  double value = 0.0;
  const auto run = [&](T* tape) {
    CHECK(sweeper.run<T>(job, p.batch, p.weight_rows, gradient, &value, tape, 1, nullptr), "%s: interrupted", what);
  };
  const auto check = [&](const char* way) {
    CHECK(worst(exact.initial_gradient, g0) <= tolerance, "%s, %s: costate at the start, %.1e", what, way,
          worst(exact.initial_gradient, g0));
    for (int l = 0; l < p.layers(); ++l) {
      CHECK(worst(exact.w[l], gw.values[l]) <= tolerance, "%s, %s: W of layer %d, %.1e", what, way, l,
            worst(exact.w[l], gw.values[l]));
      if (p.bias[l]) CHECK(worst(exact.b[l], gb.values[l]) <= tolerance, "%s, %s: b of layer %d", what, way, l);
    }
  };
  run(nullptr);
  CHECK(std::fabs(value - exact.value) <= tolerance * std::max(1.0, std::fabs(exact.value)) * 10, "%s: value", what);
  CHECK(worst(exact.final_state, x1) <= tolerance, "%s: final state, %.1e", what, worst(exact.final_state, x1));
  check("segments");
  // the same along a tape of the whole batch
  Workspace memory;
  T* const tape = static_cast<T*>(memory.reserve(static_cast<std::size_t>(sweeper.tape_bytes<T>(p.batch, p.steps))));
  job.backward = false, job.target = nullptr;
  run(tape);
  std::vector<T> costate(x0.size());
  for (std::size_t i = 0; i < x0.size(); ++i) costate[i] = static_cast<T>(2 * p.scale) * (x1[i] - target[i]);
  job.backward = job.replay = true, job.final_costate = costate.data();
  run(tape);
  check("tape");
  const long before = allocations();
  run(tape);
  CHECK(!counts_allocations || allocations() == before, "%s: a later sweep allocates", what);
}

void test_all_activations_and_tails() {
  for (int a = 0; a < activation_count; ++a) {
    const Activation activation = static_cast<Activation>(a);
    char what[80];
    for (const long batch : {1L, 7L, 37L, 131L})
      for (const bool per_stage : {false, true}) {
        std::snprintf(what, sizeof what, "activation %d, batch %ld, rows %d", a, batch, per_stage);
        for (int dim = 1; dim <= 4; ++dim) {
          const Problem p = make({dim, 9, dim}, {activation, Activation::identity}, batch, per_stage, rk4());
          compare<double>(p, what, 1e-12);
          compare<float>(p, what, 2e-5);
        }
        const Problem p = make({5, 19, 3, 5}, {activation, activation, activation}, batch, per_stage, midpoint());
        compare<double>(p, what, 1e-12);
        compare<float>(p, what, 2e-5);
      }
  }
}

void test_shapes_and_running_costs() {
  const MlpCost costs[] = {{0.0, 0.0}, {0.7, 0.0}, {0.0, 0.4}, {0.7, 0.4}};
  for (const MlpCost& running : costs) {
    compare<double>(make({2, 33, 2}, {Activation::tanh, Activation::identity}, 70, true, rk4(), running), "narrow",
                    1e-12);
    compare<double>(make({17, 17}, {Activation::sin}, 21, false, rk4(), running), "one layer", 1e-12);
    compare<double>(make({11, 47, 11}, {Activation::tanh, Activation::silu}, 45, true, midpoint(), running), "wide",
                    1e-12);
    compare<double>(make({40, 8, 40}, {Activation::relu, Activation::identity}, 18, false, rk4(), running), "waist",
                    1e-12);
  }
}

void test_long_horizons() {
  compare<double>(make({2, 150, 2}, {Activation::tanh, Activation::identity}, 33, false, rk4(), {}, 170),
                  "narrow, segments", 1e-11);
  compare<double>(make({9, 130, 9}, {Activation::gelu, Activation::identity}, 16, false, rk4(), {0.1, 0.1}, 230),
                  "layered, segments", 1e-11);
}

}  // namespace

int main() {
  test_all_activations_and_tails();
  test_shapes_and_running_costs();
  test_long_horizons();
  return report();
}
