// Newton's method on tiles: a problem with a known answer in both kernels, to the bit in every lane, without allocation.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.hpp"
#include "cpu/newton_solver.hpp"

#include "allocations.hpp"

using namespace pontryagin;

namespace {

// minimise int u^2 / 2 with x'' = u from rest at 0 to rest at 1, |u| <= `limit`: rows of the functions are
// 0 tau, 1 2 x, 3 u, 4 t1, 5 6 7 weights, 8.. results, 16.. entries of Hessians.
struct DoubleIntegrator {
  static constexpr int W = newton_lanes;  // also of one problem, whose steps lie side by side
  static double* row(double* rows, int i) { return rows + i * W; }
  static void stage(const void*, double* rows, void*) {
    for (int l = 0; l < W; ++l) {
      const double u = row(rows, 3)[l];
      row(rows, 8)[l] = row(rows, 2)[l], row(rows, 9)[l] = u, row(rows, 10)[l] = 0.5 * u * u;
      row(rows, 11)[l] = 1, row(rows, 12)[l] = 1, row(rows, 13)[l] = u;
    }
  }
  static void stage_hessian(const void*, double* rows, void*) {
    std::memcpy(row(rows, 16), row(rows, 5), W * sizeof(double));
  }
  static void end(const void*, double* rows, void*) {
    for (int l = 0; l < W; ++l) {
      row(rows, 8)[l] = 0, row(rows, 9)[l] = row(rows, 1)[l] - 1, row(rows, 10)[l] = row(rows, 2)[l];
      row(rows, 11)[l] = row(rows, 12)[l] = 1;
    }
  }
  static PointFunctions functions() {
    PointFunctions f;
    f.call[point::stage_values] = f.call[point::stage_slopes] = stage;
    f.call[point::stage_hessian] = stage_hessian;
    f.call[point::end_values] = f.call[point::end_slopes] = end;
    return f;
  }
};

struct Case {
  static constexpr int N = 20, ns = 3, nz = 4;
  NewtonProblem p;
  std::vector<double> nodes, weights, bound_weights, low, high, half;
  std::vector<unsigned char> free_state, control;
  std::vector<Inequality> inequalities;
  std::vector<int> first;
  int rows[3] = {0, 1, 2}, columns[3] = {1, 2, 2}, second[1] = {2}, ends[2] = {1, 2}, end_columns[2] = {0, 1};

  explicit Case(double limit) {
    p.steps = N, p.n = 2, p.m = 1, p.linear_control = true, p.ns = ns, p.nv = 1, p.nz = nz, p.ends = 3,
    p.equalities = 2;
    p.tableau.stages = 2, p.tableau.a[1][0] = 0.5, p.tableau.b[0] = 0, p.tableau.b[1] = 1,
    p.tableau.c[1] = 0.5;  // midpoint
    const double infinity = std::numeric_limits<double>::infinity();
    for (int k = 0; k <= N; ++k) {
      nodes.push_back(k / double(N)), weights.push_back((k == 0 || k == N ? 0.5 : 1.0) / N);
      first.push_back(static_cast<int>(inequalities.size()));
      for (int i = 0; i < nz; ++i) {
        const bool bounded = (i == 3 && k < N) || (i == 2 && k == 0);
        bound_weights.push_back(weights.back());
        low.push_back(bounded ? -limit : -infinity), high.push_back(bounded ? limit : infinity);
      }
      for (int side = 0; side < 2; ++side)
        for (int i = 2; i < nz; ++i)
          if ((i == 3 && k < N) || (i == 2 && k == 0))
            inequalities.push_back({side * nz + i, side == 0 ? -limit : limit, weights.back()});
    }
    first.push_back(static_cast<int>(inequalities.size()));
    half = {infinity, infinity, limit, limit}, free_state = {0, 0, 1}, control = {0, 0, 1, 1};
    p.nodes = nodes.data(), p.weights = weights.data(), p.bound_weights = bound_weights.data();
    p.low = low.data(), p.high = high.data(), p.half_width = half.data();
    p.free = free_state.data(), p.control = control.data();
    p.inequality = inequalities.data(), p.first_inequality = first.data();
    p.stage_jacobian = {3, rows, columns}, p.stage_hessian = {1, second, second};
    p.end_jacobian = {2, ends, end_columns};
    p.rows_of_points = {0, 1, 3, 4, 4, 5, 5, 8, 16, 17};
  }
};

struct Answer {
  std::vector<double> state, control, costate, end, sigma, multiplier, measures, initial, scale_z, weight, scale_end;
  std::vector<int> status, iterations;
  NewtonBatch batch;
  Answer(const Case& one, long B) {
    const long nodes = Case::N + 1, all = 2 * Case::nz;
    const auto made = [](std::vector<double>& v, long n) {
      return v.assign(static_cast<std::size_t>(n), 0.0), v.data();
    };
    batch.batch = B, batch.state = made(state, B * nodes * Case::ns), batch.control = made(control, B * Case::N);
    batch.costate = made(costate, B * nodes * Case::ns), batch.end = made(end, B * 2);
    batch.sigma = made(sigma, B * nodes * all), batch.multiplier = made(multiplier, B * nodes * all);
    batch.measures = made(measures, B * 4), batch.initial = made(initial, B * Case::ns);
    batch.scale_z = made(scale_z, B * Case::nz), batch.scale_weight = made(weight, B);
    batch.scale_end = made(scale_end, B * 2);
    status.assign(static_cast<std::size_t>(B), 0), iterations = status;
    batch.status = status.data(), batch.iterations = iterations.data();
    for (long b = 0; b < B; ++b)
      for (int k = 0; k <= Case::N; ++k)
        state[static_cast<std::size_t>((b * nodes + k) * Case::ns)] = one.nodes[static_cast<std::size_t>(k)];
  }
};

NewtonSettings settings() {
  NewtonSettings s{};
  s.tolerance = 1e-10, s.barrier = 0.1, s.warm_barrier = 1e-6, s.barrier_factor = 0.2, s.barrier_power = 1.5;
  s.barrier_solved = 10, s.first_regularisation = 1e-4, s.largest_regularisation = 1e12, s.penalty = 1e3;
  s.max_iterations = 100, s.trials = 30, s.patience = 8, s.exact = s.inside = true;
  return s;
}

void solve(const NewtonKernel& kernel, const Case& one, Answer& answer) {
  const NewtonSettings set = settings();
  const PointFunctions functions = DoubleIntegrator::functions();
  std::vector<NewtonRow> history(100);
  const NewtonWork work{&one.p, &functions, &set, &answer.batch, history.data()};
  Workspace memory;
  void* tile = kernel.make(work, memory.reserve(static_cast<std::size_t>(kernel.bytes(work))));
  long next = 0;
  const long before = allocations();
  for (int pass = 0; pass < 1000; ++pass) {
    while (kernel.active(tile) < kernel.lanes && next < answer.batch.batch) kernel.add(tile, next++);
    if (kernel.active(tile) == 0) break;
    kernel.iterate(tile);
  }
  CHECK(allocations() == before, "iterations asked for memory %ld times", allocations() - before);
  CHECK(kernel.active(tile) == 0, "it runs on");
}

void check_answers(double limit, double objective, double error) {
  const Case one(limit);
  Answer alone(one, 1), many(one, 11);
  solve(newton_kernel_set().one, one, alone);
  solve(newton_kernel_set().many, one, many);
  CHECK(std::abs(alone.measures[0] - objective) < error * objective, "J = %.12g with |u| <= %g", alone.measures[0],
        limit);
  CHECK(alone.status[0] == static_cast<int>(NewtonStatus::converged), "status %d", alone.status[0]);
  for (std::size_t b = 0; b < 11; ++b) {
    CHECK(many.status[b] == alone.status[0], "problem %zu: status %d", b, many.status[b]);
    CHECK(many.iterations[b] == alone.iterations[0], "problem %zu: %d iterations", b, many.iterations[b]);
    CHECK(many.measures[4 * b] == alone.measures[0], "problem %zu: another objective", b);
    const std::size_t size = alone.costate.size();
    CHECK(std::memcmp(&many.costate[b * size], alone.costate.data(), size * sizeof(double)) == 0,
          "problem %zu: costates", b);
    const std::size_t slacks = alone.multiplier.size();
    CHECK(std::memcmp(&many.multiplier[b * slacks], alone.multiplier.data(), slacks * sizeof(double)) == 0,
          "problem %zu: multipliers", b);
  }
}

}  // namespace

int main() {
  check_answers(100.0, 6.0 / (1.0 + 8.0 / (Case::N * Case::N)), 1e-8);  // 6, and what the midpoint rule makes of it
  // |u| <= 4.5: on the bounds until (1 - 1 / sqrt 3) / 2 and from there before the end, a line between.
  check_answers(4.5, 6.2278856835, 2e-2);
  return report();
}
