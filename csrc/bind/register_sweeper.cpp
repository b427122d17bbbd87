// Sweeps and pointwise Hamiltonians over raw pointers. The Python side owns the tensors and has checked their shapes.
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bind/register.hpp"
#include "bind/run_sweep.hpp"
#include "bind/tableau.hpp"
#include "cpu/sweeper.hpp"

namespace py = pybind11;

namespace pontryagin {

namespace {

class BoundSweeper {
 public:
  BoundSweeper(const ModelCode& model, const std::vector<std::vector<double>>& a, const std::vector<double>& b,
               const std::vector<double>& c, double t0, bool linear_control, bool linear_data, bool backward,
               bool keep_state, bool extended, bool uniform)
      : t0_(t0),
        sweeper_(model, tableau_of(a, b, c), t0,
                 {linear_control, linear_data, backward, keep_state, extended, uniform}) {}

  void run(bool single, int steps, long batch, long control_stride, long data_stride, int threads,
           const SweepAddresses& address) {
    run_with(sweeper_, single, steps, t0_, batch, control_stride, data_stride, threads, address);
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
