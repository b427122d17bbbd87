// Sweeps and pointwise Hamiltonians over raw pointers. The Python side owns the tensors and has checked their shapes.
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bind/register.hpp"
#include "cpu/sweeper.hpp"

namespace py = pybind11;

namespace pontryagin {

namespace {

using Pointer = std::uintptr_t;

template <class T>
T* at(Pointer address) {
  return reinterpret_cast<T*>(address);  // 0 is "not given"
}

bool ctrl_c() {
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

Tableau tableau_of(const std::vector<std::vector<double>>& a, const std::vector<double>& b,
                   const std::vector<double>& c) {
  Tableau tableau;
  tableau.stages = static_cast<int>(b.size());
  if (b.empty() || b.size() > static_cast<std::size_t>(max_stages) || a.size() != b.size() || c.size() != b.size())
    throw py::value_error("tableau: between 1 and " + std::to_string(max_stages) + " stages, as many in a, b and c");
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (a[i].size() < i) throw py::value_error("tableau: row " + std::to_string(i) + " of a is too short");
    for (std::size_t j = 0; j < i; ++j) tableau.a[i][j] = a[i][j];
    tableau.b[i] = b[i];
    tableau.c[i] = c[i];
  }
  return tableau;
}

struct SweepPointers {
  Pointer tau, control, initial_state, final_time, parameters, data, multipliers, penalties, objective_cotangent,
      state_cotangent, objective, lagrangian, terminal, state, costate, control_derivative, initial_state_derivative,
      parameter_derivative, final_time_derivative;
};

template <class T>
bool run(Sweeper& sweeper, int steps, double t0, long batch, long control_stride, long data_stride,
         const SweepPointers& p, int threads) {
  SweepJob<T> job;
  job.steps = steps;
  job.t0 = t0;
  job.tau = at<double>(p.tau);
  job.control = at<T>(p.control), job.control_stride = control_stride;
  job.initial_state = at<T>(p.initial_state), job.final_time = at<T>(p.final_time);
  job.parameters = at<T>(p.parameters), job.data = at<T>(p.data), job.data_stride = data_stride;
  job.multipliers = at<T>(p.multipliers), job.penalties = at<T>(p.penalties);
  job.objective_cotangent = at<T>(p.objective_cotangent), job.state_cotangent = at<T>(p.state_cotangent);
  job.objective = at<T>(p.objective), job.lagrangian = at<T>(p.lagrangian), job.terminal = at<T>(p.terminal);
  job.state = at<T>(p.state), job.costate = at<T>(p.costate);
  job.control_derivative = at<T>(p.control_derivative);
  job.initial_state_derivative = at<T>(p.initial_state_derivative);
  job.parameter_derivative = at<T>(p.parameter_derivative);
  job.final_time_derivative = at<T>(p.final_time_derivative);
  return sweeper.run<T>(job, batch, threads, ctrl_c);
}

void throw_if_stopped(bool completed) {
  if (!completed) throw py::error_already_set();
}

class BoundSweeper {
 public:
  BoundSweeper(const ModelCode& model, const std::vector<std::vector<double>>& a, const std::vector<double>& b,
               const std::vector<double>& c, double t0, bool linear_control, bool linear_data, bool backward,
               bool keep_state, bool extended, bool uniform)
      : t0_(t0),
        sweeper_(model, tableau_of(a, b, c), t0,
                 {linear_control, linear_data, backward, keep_state, extended, uniform}) {}

  void run(bool single, int steps, long batch, long control_stride, long data_stride, int threads,
           const std::array<Pointer, 19>& address) {
    if (steps < 1 || batch < 1) throw py::value_error("a sweep needs at least one step and one problem");
    const SweepPointers p{address[0],  address[1],  address[2],  address[3],  address[4],  address[5],  address[6],
                          address[7],  address[8],  address[9],  address[10], address[11], address[12], address[13],
                          address[14], address[15], address[16], address[17], address[18]};
    bool completed;
    {
      const py::gil_scoped_release release;
      completed = single
                      ? pontryagin::run<float>(sweeper_, steps, t0_, batch, control_stride, data_stride, p, threads)
                      : pontryagin::run<double>(sweeper_, steps, t0_, batch, control_stride, data_stride, p, threads);
    }
    throw_if_stopped(completed);
  }

  std::string listing() const {
    const SweepPrograms& programs = sweeper_.programs();
    return "prologue:\n" + pontryagin::listing(programs.prologue) + "\nforward:\n" +
           pontryagin::listing(programs.forward) + "\nterminal:\n" + pontryagin::listing(programs.terminal) +
           "\nbackward:\n" + pontryagin::listing(programs.backward);
  }

  py::dict counts() const {
    const SweepPrograms& programs = sweeper_.programs();
    py::dict out;
    out["prologue"] = programs.prologue.code.size() - 1;
    out["forward"] = programs.forward.code.size() - 1;
    out["terminal"] = programs.terminal.code.size() - 1;
    out["backward"] = programs.backward.code.size() - 1;
    out["record_slots"] = programs.record.count;
    out["fixed_slots"] = programs.fixed.count;
    return out;
  }

 private:
  double t0_;
  Sweeper sweeper_;
};

}  // namespace

void register_sweeper(py::module_& module) {
  py::class_<BoundSweeper>(module, "Sweeper", "The programs of one problem, tableau and request.")
      .def(py::init<const ModelCode&, const std::vector<std::vector<double>>&, const std::vector<double>&,
                    const std::vector<double>&, double, bool, bool, bool, bool, bool, bool>(),
           py::arg("model"), py::arg("a"), py::arg("b"), py::arg("c"), py::kw_only(), py::arg("t0"),
           py::arg("linear_control"), py::arg("linear_data"), py::arg("backward"), py::arg("keep_state"),
           py::arg("extended"), py::arg("uniform"))
      .def("run", &BoundSweeper::run, py::arg("single"), py::arg("steps"), py::arg("batch"), py::arg("control_stride"),
           py::arg("data_stride"), py::arg("threads"), py::arg("addresses"),
           "Runs a batch. Addresses, 0 where not given or not wanted: tau, control, initial state, final time,\n"
           "parameters, data, multipliers, penalties, objective cotangent, state cotangent; objective, lagrangian,\n"
           "terminal, state, costate, derivatives in control, initial state, parameters, final time.")
      .def("listing", &BoundSweeper::listing, "The programs as text, one instruction a line.")
      .def("counts", &BoundSweeper::counts, "Instructions of each program, slots of a record and of the fixed bank.");

  py::class_<PointEvaluator>(module, "PointEvaluator", "H = L + p.f, H_x and H_u at single points.")
      .def(py::init<const ModelCode&>(), py::arg("model"))
      .def(
          "run",
          [](PointEvaluator& self, bool single, long count, int threads, const std::array<Pointer, 9>& p) {
            if (count < 1) throw py::value_error("expected at least one point");
            const auto job_of = [&p](auto zero) {
              using T = decltype(zero);
              PointJob<T> job;
              job.time = at<T>(p[0]), job.state = at<T>(p[1]), job.costate = at<T>(p[2]), job.control = at<T>(p[3]);
              job.parameters = at<T>(p[4]), job.data = at<T>(p[5]);
              job.hamiltonian = at<T>(p[6]), job.state_gradient = at<T>(p[7]), job.control_gradient = at<T>(p[8]);
              return job;
            };
            bool completed;
            {
              const py::gil_scoped_release release;
              completed = single ? self.run<float>(job_of(0.0f), count, threads, ctrl_c)
                                 : self.run<double>(job_of(0.0), count, threads, ctrl_c);
            }
            throw_if_stopped(completed);
          },
          py::arg("single"), py::arg("count"), py::arg("threads"), py::arg("addresses"),
          "Runs single points. Addresses: time, state, costate, control, parameters, data; H, H_x, H_u.");
}

}  // namespace pontryagin
