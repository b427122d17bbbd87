// Newton's method: a problem on a grid, batches of it over numpy arrays.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cmath>
#include <deque>
#include <string>

#include "bind/code.hpp"
#include "bind/register.hpp"
#include "bind/run_sweep.hpp"
#include "bind/tableau.hpp"
#include "cpu/newton_solver.hpp"

namespace py = pybind11;

namespace pontryagin {

namespace {

using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Flags = py::array_t<bool, py::array::c_style | py::array::forcecast>;
using Places = std::vector<std::pair<int, int>>;

void expect(const py::array& array, const std::vector<long>& shape, const char* name) {
  bool same = array.ndim() == static_cast<py::ssize_t>(shape.size());
  for (std::size_t i = 0; same && i < shape.size(); ++i) same = array.shape(static_cast<py::ssize_t>(i)) == shape[i];
  if (!same) throw py::value_error(std::string("newton: ") + name + " has the wrong shape");
}

// A problem on one grid; all that its NewtonProblem points to.
class BoundNewton {
 public:
  BoundNewton(std::shared_ptr<NewtonFunctions> functions, const py::dict& sizes, const std::vector<int>& rows,
              const std::vector<Places>& entries, const std::vector<int>& optimised,
              const std::vector<std::vector<double>>& a, const std::vector<double>& b, const std::vector<double>& c,
              const py::dict& statement)
      : functions_(std::move(functions)), optimised_(optimised) {
    const auto size = [&sizes](const char* name) { return sizes[name].cast<int>(); };
    NewtonProblem& p = problem_;
    p.steps = size("steps"), p.n = size("n"), p.m = size("m"), p.q = size("q"), p.nd = size("nd");
    p.free_time = size("free_time") != 0, p.linear_control = size("linear_control") != 0;
    p.linear_data = size("linear_data") != 0, p.paths = size("paths"), p.ends = size("ends");
    p.equalities = size("equalities"), p.rows = size("rows");
    p.optimised = optimised_.data(), p.optimised_count = static_cast<int>(optimised_.size());
    p.ns = p.n + (p.linear_control ? p.m : 0) + p.optimised_count + (p.free_time ? 1 : 0);
    p.nv = p.m, p.nz = p.ns + p.nv, p.tableau = tableau_of(a, b, c);
    if (p.steps < 1 || p.n < 1 || p.m < 0 || p.q < 0 || p.nd < 0 || p.equalities < 0 || p.rows < p.paths ||
        p.ends != 1 + p.equalities + p.rows - p.paths)
      throw py::value_error("newton: the sizes are not valid");
    if (p.n + p.m + p.optimised_count + 1 > 512 || p.equalities > 64)
      throw py::value_error("newton: more than 512 components or 64 terminal equalities");
    for (int place : optimised_)
      if (place < 0 || place >= p.q) throw py::value_error("newton: a parameter is out of range");
    set_rows(rows);
    set_entries(entries);
    const long N = p.steps;
    p.nodes = numbers(statement, "nodes", {N + 1}), p.weights = numbers(statement, "weights", {N + 1});
    p.bound_weights = numbers(statement, "bound_weights", {N + 1, p.nz});
    p.path_weights = numbers(statement, "path_weights", {N + 1, p.rows});
    p.low = numbers(statement, "low", {N + 1, p.nz}), p.high = numbers(statement, "high", {N + 1, p.nz});
    p.half_width = numbers(statement, "half_width", {p.nz});
    p.free = flags(statement, "free", {p.ns}), p.active = flags(statement, "active", {N + 1, p.rows});
    p.control = flags(statement, "control", {p.nz});
    list_inequalities();
  }

  int ns() const { return problem_.ns; }

  // (cost, next, path, end)
  py::tuple values(const Numbers& state, const Numbers& control, const Numbers& initial, const Numbers& theta,
                   const Numbers& data, int threads) {
    const NewtonBatch batch = given(state, control, initial, theta, data);
    Results results(problem_, batch.batch, false);
    sweep(batch, results, false, threads);
    return results.values();
  }

  // (cost, next, path, end, jacobian, gradient, hessian, path_jacobian, end_jacobian)
  py::tuple linearise(const Numbers& state, const Numbers& control, const Numbers& initial, const Numbers& theta,
                      const Numbers& data, const Numbers& costate, const Numbers& nu, const Numbers& mu,
                      const Numbers& weight, bool exact, int threads) {
    const NewtonBatch batch = given(state, control, initial, theta, data);
    const long B = batch.batch, N = problem_.steps;
    expect(costate, {B, N + 1, problem_.ns}, "costate"), expect(nu, {B, problem_.equalities}, "nu");
    expect(mu, {B, N + 1, problem_.rows}, "mu"), expect(weight, {B}, "weight");
    Results results(problem_, B, true);
    results.sweep.costate = costate.data(), results.sweep.nu = nu.data(), results.sweep.mu = mu.data();
    results.sweep.weight = weight.data();
    sweep(batch, results, true, threads, exact);
    return results.all();
  }

  // J_z + p F_z + w mu c_z of the states x in F (B, N+1, nz)
  py::array_t<double> lagrangian(const Numbers& state, const Numbers& control, const Numbers& initial,
                                 const Numbers& theta, const Numbers& data, const Numbers& costate, const Numbers& nu,
                                 const Numbers& mu, int threads) {
    const NewtonBatch batch = given(state, control, initial, theta, data);
    const long B = batch.batch, N = problem_.steps;
    expect(costate, {B, N + 1, problem_.ns}, "costate"), expect(nu, {B, problem_.equalities}, "nu");
    expect(mu, {B, N + 1, problem_.rows}, "mu");
    py::array_t<double> found({B, N + 1, static_cast<long>(problem_.nz)});
    const std::vector<double> ones(static_cast<std::size_t>(B), 1.0);
    SweepOfSteps results;
    results.costate = costate.data(), results.nu = nu.data(), results.mu = mu.data(), results.weight = ones.data();
    results.lagrangian = found.mutable_data();
    // Whole steps come with their Hessians; otherwise those are left out.
    const NewtonSettings settings = resting(functions_->functions().step_derivatives != nullptr);
    const py::gil_scoped_release release;
    NewtonRun(problem_, *functions_, settings, batch).sweep(results, true, threads);
    return found;
  }

  // The guess, or the path that its controls lead to; that may violate `favour` times as much. In place.
  void choose_start(py::array_t<double>& state, const Numbers& control, const Numbers& initial, const Numbers& theta,
                    const Numbers& data, double favour, int threads) {
    NewtonBatch batch = given(state, control, initial, theta, data);
    batch.state = state.mutable_data();
    const NewtonSettings settings = resting(true);
    const py::gil_scoped_release release;
    NewtonRun(problem_, *functions_, settings, batch).choose_start(favour, threads);
  }

  // Solves in place; `told(row of the history)` may ask to stop. Returns measures, scales, status, iterations, history.
  py::dict solve(py::array_t<double>& state, py::array_t<double>& control, py::array_t<double>& costate,
                 py::array_t<double>& end, py::array_t<double>& sigma, py::array_t<double>& multiplier,
                 const Flags& known, const Numbers& initial, const Numbers& theta, const Numbers& data,
                 const py::dict& options, int threads, const py::object& told) {
    NewtonBatch batch = given(state, control, initial, theta, data);
    const NewtonProblem& p = problem_;
    const long B = batch.batch, N = p.steps, all = 2L * p.nz + p.rows;
    expect(costate, {B, N + 1, p.ns}, "costate"), expect(end, {B, p.equalities}, "end");
    expect(sigma, {B, N + 1, all}, "sigma"), expect(multiplier, {B, N + 1, all}, "multiplier"),
        expect(known, {B}, "known");
    py::array_t<double> measures({B, 4L}), scale_z({B, static_cast<long>(p.nz)}), scale_weight(B),
        scale_end({B, static_cast<long>(p.equalities)}), scale_path({B, static_cast<long>(p.rows)});
    py::array_t<int> status(B), iterations(B);
    batch.state = state.mutable_data(), batch.control = control.mutable_data(), batch.costate = costate.mutable_data();
    batch.end = end.mutable_data(), batch.sigma = sigma.mutable_data(), batch.multiplier = multiplier.mutable_data();
    batch.known = reinterpret_cast<const unsigned char*>(known.data());
    batch.measures = measures.mutable_data(), batch.scale_z = scale_z.mutable_data();
    batch.scale_weight = scale_weight.mutable_data(), batch.scale_end = scale_end.mutable_data();
    batch.scale_path = scale_path.mutable_data(), batch.status = status.mutable_data();
    batch.iterations = iterations.mutable_data();
    std::fill_n(measures.mutable_data(), 4 * B, std::nan("")), std::fill_n(scale_z.mutable_data(), B * p.nz, 1.0);
    std::fill_n(scale_weight.mutable_data(), B, 1.0), std::fill_n(scale_end.mutable_data(), B * p.equalities, 1.0);
    std::fill_n(scale_path.mutable_data(), B * p.rows, 1.0);
    std::fill_n(status.mutable_data(), B, 0), std::fill_n(iterations.mutable_data(), B, 0);
    const NewtonSettings settings = settings_of(options);
    NewtonRun run(p, *functions_, settings, batch);
    bool completed = true;
    if (told.is_none()) {
      const py::gil_scoped_release release;
      completed = run.run(threads, ctrl_c);
    } else {
      completed = in_steps(run, told);
    }
    py::dict found;
    found["measures"] = measures, found["scale_z"] = scale_z, found["scale_weight"] = scale_weight;
    found["scale_end"] = scale_end, found["scale_path"] = scale_path, found["status"] = status;
    found["iterations"] = iterations, found["history"] = history_of(run);
    // Ctrl-C: whoever called is told by the status of what still ran.
    if (!completed && PyErr_Occurred()) PyErr_Clear();
    found["interrupted"] = !completed;
    return found;
  }

 private:
  struct Results {
    py::array_t<double> cost, next, path, end, jacobian, gradient, hessian, path_jacobian, end_jacobian;
    SweepOfSteps sweep;
    Results(const NewtonProblem& p, long B, bool slopes) {
      const long N = p.steps, ns = p.ns, nz = p.nz, rows = p.rows, r = p.equalities;
      const auto made = [](std::vector<long> shape) { return py::array_t<double>(std::move(shape)); };
      cost = made({B}), next = made({B, N, ns}), path = made({B, N + 1, rows}), end = made({B, r});
      sweep.cost = cost.mutable_data(), sweep.next = next.mutable_data(), sweep.path = path.mutable_data();
      sweep.end = end.mutable_data();
      if (!slopes) return;
      jacobian = made({B, N, ns, nz}), gradient = made({B, N + 1, nz}), hessian = made({B, N + 1, nz, nz});
      path_jacobian = made({B, N + 1, rows, nz}), end_jacobian = made({B, r, ns});
      sweep.jacobian = jacobian.mutable_data(), sweep.gradient = gradient.mutable_data();
      sweep.hessian = hessian.mutable_data(), sweep.path_jacobian = path_jacobian.mutable_data();
      sweep.end_jacobian = end_jacobian.mutable_data();
    }
    py::tuple values() const { return py::make_tuple(cost, next, path, end); }
    py::tuple all() const {
      return py::make_tuple(cost, next, path, end, jacobian, gradient, hessian, path_jacobian, end_jacobian);
    }
  };

  void sweep(const NewtonBatch& batch, Results& results, bool slopes, int threads, bool exact = true) {
    const NewtonSettings settings = resting(exact);
    const py::gil_scoped_release release;
    NewtonRun(problem_, *functions_, settings, batch).sweep(results.sweep, slopes, threads);
  }

  // Settings of somebody who does not solve.
  static NewtonSettings resting(bool exact) {
    NewtonSettings settings{};
    settings.exact = exact, settings.barrier = 1, settings.tolerance = 1e-8;
    return settings;
  }

  static NewtonSettings settings_of(const py::dict& o) {
    NewtonSettings s{};
    const auto number = [&o](const char* name) { return o[name].cast<double>(); };
    const auto whole = [&o](const char* name) { return o[name].cast<int>(); };
    s.tolerance = number("tolerance"), s.barrier = number("barrier"), s.warm_barrier = number("warm_barrier");
    s.barrier_factor = number("barrier_factor"), s.barrier_power = number("barrier_power");
    s.barrier_solved = number("barrier_solved"), s.first_regularisation = number("first_regularisation");
    s.largest_regularisation = number("largest_regularisation"), s.penalty = number("penalty");
    s.max_iterations = whole("max_iterations"), s.trials = whole("trials"), s.patience = whole("patience"),
    s.exact = o["exact"].cast<bool>(), s.warm = o["warm"].cast<bool>(), s.inside = true;
    if (s.max_iterations < 1) throw py::value_error("newton: max_iterations is less than one");
    return s;
  }

  static py::tuple tuple_of(const NewtonRow& row) {
    return py::make_tuple(row.running, row.objective, row.dual, row.primal, row.complementarity, row.barrier, row.step,
                          row.regularisation);
  }

  static py::list history_of(const NewtonRun& run) {
    py::list rows;
    for (const NewtonRow& row : run.history()) {
      if (row.running == 0) break;
      rows.append(tuple_of(row));
    }
    return rows;
  }

  static bool in_steps(NewtonRun& run, const py::object& told) {
    int known = 0;
    while (true) {
      bool runs;
      {
        const py::gil_scoped_release release;
        runs = run.pass();
      }
      if (PyErr_CheckSignals() != 0) {
        run.give_up();
        return false;
      }
      for (const int rows = run.told(); known < rows; ++known)
        if (told(tuple_of(run.history()[static_cast<std::size_t>(known)])).cast<bool>()) {
          run.give_up();
          return false;
        }
      if (!runs) return true;
    }
  }

  NewtonBatch given(const py::array_t<double>& state, const py::array_t<double>& control, const Numbers& initial,
                    const Numbers& theta, const Numbers& data) const {
    const NewtonProblem& p = problem_;
    const long B = state.ndim() == 3 ? state.shape(0) : 0, N = p.steps;
    if (B < 1) throw py::value_error("newton: no problem");
    expect(state, {B, N + 1, p.ns}, "state"), expect(control, {B, N, p.nv}, "control");
    expect(initial, {B, p.ns}, "initial"), expect(theta, {B, p.q}, "theta");
    const bool shared = data.ndim() == 3 && data.shape(0) == 1 && B > 1;
    expect(data, {shared ? 1 : B, p.linear_data ? N + 1 : N, p.nd}, "data");
    if (!(state.flags() & py::array::c_style) || !(control.flags() & py::array::c_style))
      throw py::value_error("newton: states and controls have to be contiguous");
    NewtonBatch batch;
    batch.batch = B, batch.initial = initial.data(), batch.theta = theta.data(), batch.data = data.data();
    batch.data_stride = shared ? 0 : (p.linear_data ? N + 1 : N) * p.nd;
    batch.state = const_cast<double*>(state.data()), batch.control = const_cast<double*>(control.data());
    return batch;
  }

  void set_rows(const std::vector<int>& rows) {
    if (rows.size() != 9) throw py::value_error("newton: nine numbers of rows");
    PointRows& at = problem_.rows_of_points;
    at.tau = rows[0], at.x = rows[1], at.u = rows[2], at.theta = rows[3], at.t1 = rows[4], at.d = rows[5];
    at.weights = rows[6], at.output = rows[7], at.hessian = rows[8], at.count = functions_->rows();
    const NewtonProblem& p = problem_;
    const int weights = std::max({p.n + 1, p.paths, p.ends});
    if (at.x < 1 || at.u < at.x + p.n || at.theta < at.u + p.m || at.t1 < at.theta + p.q || at.d < at.t1 + 1 ||
        at.weights < at.d + p.nd || at.output < at.weights + weights || at.hessian < at.output ||
        at.count <= at.hessian)
      throw py::value_error("newton: the rows are not in order");
  }

  void set_entries(const std::vector<Places>& entries) {
    if (entries.size() != 8) throw py::value_error("newton: eight matrices");
    NewtonProblem& p = problem_;
    const int y = p.n + p.m + p.optimised_count + (p.free_time ? 1 : 0);
    Entries* const targets[] = {&p.stage_jacobian, &p.stage_hessian, &p.path_jacobian,  &p.path_hessian,
                                &p.end_jacobian,   &p.end_hessian,   &p.start_jacobian, &p.start_hessian};
    const int heights[] = {p.n + 1, y, p.paths, y, p.ends, y, 1, y}, values[] = {p.n + 1, p.paths, p.ends, 1};
    for (std::size_t i = 0; i < 8; ++i) {
      std::vector<int>& rows = places_.emplace_back();
      std::vector<int>& columns = places_.emplace_back();
      for (const auto& [row, column] : entries[i]) {
        if (row < 0 || row >= heights[i] || column < 0 || column >= y)
          throw py::value_error("newton: an entry is out of range");
        rows.push_back(row), columns.push_back(column);
      }
      *targets[i] = {static_cast<int>(rows.size()), rows.data(), columns.data()};
      const PointRows& at = p.rows_of_points;
      const int end = i % 2 == 0 ? at.output + values[i / 2] + targets[i]->count : at.hessian + targets[i]->count;
      if (end > (i % 2 == 0 ? at.hessian : at.count)) throw py::value_error("newton: too few rows");
    }
  }

  const double* numbers(const py::dict& statement, const char* name, const std::vector<long>& shape) {
    const Numbers array = Numbers::ensure(statement[name]);
    if (!array) throw py::error_already_set();
    expect(array, shape, name);
    kept_.emplace_back(array.data(), array.data() + array.size());
    return kept_.back().data();
  }
  const unsigned char* flags(const py::dict& statement, const char* name, const std::vector<long>& shape) {
    const Flags array = Flags::ensure(statement[name]);
    if (!array) throw py::error_already_set();
    expect(array, shape, name);
    kept_flags_.emplace_back(array.data(), array.data() + array.size());
    return kept_flags_.back().data();
  }

  void list_inequalities() {
    NewtonProblem& p = problem_;
    for (int k = 0; k <= p.steps; ++k) {
      first_.push_back(static_cast<int>(inequalities_.size()));
      for (int side = 0; side < 2; ++side)
        for (int i = 0; i < (k < p.steps ? p.nz : p.ns); ++i) {
          const double bound = (side == 0 ? p.low : p.high)[k * p.nz + i];
          if (std::isfinite(bound)) inequalities_.push_back({side * p.nz + i, bound, p.bound_weights[k * p.nz + i]});
        }
      for (int i = 0; i < p.rows; ++i)
        if (p.active[k * p.rows + i]) inequalities_.push_back({2 * p.nz + i, 0.0, p.path_weights[k * p.rows + i]});
    }
    first_.push_back(static_cast<int>(inequalities_.size()));
    p.inequality = inequalities_.data(), p.first_inequality = first_.data();
  }

  std::shared_ptr<NewtonFunctions> functions_;
  NewtonProblem problem_;
  std::vector<int> optimised_, first_;
  std::vector<Inequality> inequalities_;
  std::deque<std::vector<int>> places_;
  std::deque<std::vector<double>> kept_;
  std::deque<std::vector<unsigned char>> kept_flags_;
};

}  // namespace

void register_newton(py::module_& module) {
  module.attr("newton_functions") = py::int_(static_cast<int>(point::count));
  py::class_<NewtonFunctions, std::shared_ptr<NewtonFunctions>>(
      module, "NewtonFunctions", "The functions of a problem that Newton's method asks for.")
      .def(py::init([](const std::vector<py::tuple>& codes, const std::vector<int>& results, int rows) {
             if (codes.size() != point::count || results.size() != point::count)
               throw py::value_error("newton: one code and one row for each function");
             std::vector<Code> read;
             for (const py::tuple& code : codes) read.push_back(code_of(code));
             return std::make_shared<NewtonFunctions>(read, results, rows);
           }),
           py::arg("codes"), py::arg("results"), py::arg("rows"))
      .def_static(
          "compiled", [](Pointer table) { return std::make_shared<NewtonFunctions>(at<const NewtonTable>(table)); },
          py::arg("table"), "Of a compiled library, which must stay open.");
  py::class_<BoundNewton>(module, "Newton", "A problem on a grid, for Newton's method.")
      .def(py::init<std::shared_ptr<NewtonFunctions>, py::dict, std::vector<int>, std::vector<Places>, std::vector<int>,
                    std::vector<std::vector<double>>, std::vector<double>, std::vector<double>, py::dict>(),
           py::arg("functions"), py::kw_only(), py::arg("sizes"), py::arg("rows"), py::arg("entries"),
           py::arg("optimised"), py::arg("a"), py::arg("b"), py::arg("c"), py::arg("statement"))
      .def("values", &BoundNewton::values, py::arg("state"), py::arg("control"), py::arg("initial"), py::arg("theta"),
           py::arg("data"), py::arg("threads"), "(cost, next, path, end) of points.")
      .def("linearise", &BoundNewton::linearise, py::arg("state"), py::arg("control"), py::arg("initial"),
           py::arg("theta"), py::arg("data"), py::arg("costate"), py::arg("nu"), py::arg("mu"), py::arg("weight"),
           py::arg("exact"), py::arg("threads"), "The same with all derivatives.")
      .def("lagrangian", &BoundNewton::lagrangian, py::arg("state"), py::arg("control"), py::arg("initial"),
           py::arg("theta"), py::arg("data"), py::arg("costate"), py::arg("nu"), py::arg("mu"), py::arg("threads"),
           "J_z + p F_z + w mu c_z (B, N+1, nz), of the states x alone in F.")
      .def("choose_start", &BoundNewton::choose_start, py::arg("state").noconvert(), py::arg("control"),
           py::arg("initial"), py::arg("theta"), py::arg("data"), py::arg("favour"), py::arg("threads"),
           "Puts the path that the controls lead to in place of states that violate more.")
      .def("solve", &BoundNewton::solve, py::arg("state").noconvert(), py::arg("control").noconvert(),
           py::arg("costate").noconvert(), py::arg("end").noconvert(), py::arg("sigma").noconvert(),
           py::arg("multiplier").noconvert(), py::arg("known"), py::arg("initial"), py::arg("theta"), py::arg("data"),
           py::arg("options"), py::arg("threads"), py::arg("told"), "Solves a batch in place.");
}

}  // namespace pontryagin
