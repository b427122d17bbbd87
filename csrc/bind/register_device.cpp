// Recorded programs for kernels that were compiled ahead of time: instructions as words, slots by name.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <vector>

#include "bind/register.hpp"
#include "bind/tableau.hpp"
#include "recorder/device_code.hpp"
#include "recorder/sweep_programs.hpp"

namespace py = pybind11;

namespace pontryagin {

namespace {

py::array_t<std::uint32_t> words(const Program& program) {
  const std::vector<DeviceInstruction> code = device_code(program);
  py::array_t<std::uint32_t> out({static_cast<py::ssize_t>(code.size()), py::ssize_t{4}});
  std::memcpy(out.mutable_data(), code.data(), code.size() * sizeof(DeviceInstruction));
  return out;
}

py::array_t<double> array(const std::vector<double>& values) {
  return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::dict sweep_program(const ModelCode& model, const std::vector<std::vector<double>>& a, const std::vector<double>& b,
                       const std::vector<double>& c, double t0, bool linear_control, bool linear_data, bool backward,
                       bool extended, bool uniform) {
  const SweepRequest request{linear_control, linear_data, backward, false, extended, uniform};
  const SweepPrograms p = make_sweep_programs(model, tableau_of(a, b, c), t0, request);
  const FixedSlots& f = p.fixed;
  const RecordSlots& r = p.record;
  py::dict code, slots;
  code["prologue"] = words(p.prologue), code["forward"] = words(p.forward);
  code["terminal"] = words(p.terminal), code["backward"] = words(p.backward);
  slots["n"] = p.sizes.n, slots["m"] = p.sizes.m, slots["q"] = p.sizes.q, slots["nd"] = p.sizes.nd;
  slots["r"] = p.sizes.r;
  slots["span"] = f.span, slots["h"] = f.h, slots["t"] = f.t, slots["omega_0"] = f.omega_0, slots["cost"] = f.cost;
  slots["objective"] = f.objective, slots["lagrangian"] = f.lagrangian, slots["span_adjoint"] = f.span_adjoint;
  slots["theta"] = f.theta, slots["theta_adjoint"] = f.theta_adjoint, slots["nu"] = f.nu, slots["rho"] = f.rho;
  slots["e"] = f.e, slots["first_constant"] = f.constants, slots["fixed_count"] = f.count;
  slots["x"] = r.x, slots["u"] = r.u, slots["d"] = r.d, slots["p"] = r.p, slots["u_adjoint"] = r.u_adjoint;
  slots["x_cotangent"] = r.x_cotangent, slots["record_count"] = r.count;
  py::dict out;
  out["code"] = code, out["constants"] = array(p.constants), out["slots"] = slots;
  return out;
}

py::dict point_program(const ModelCode& model) {
  const PointPrograms p = make_point_programs(model);
  py::dict code, slots, out;
  code["code"] = words(p.program);
  slots["n"] = p.sizes.n, slots["m"] = p.sizes.m, slots["q"] = p.sizes.q, slots["nd"] = p.sizes.nd;
  slots["theta"] = p.theta, slots["first_constant"] = p.constants_first, slots["fixed_count"] = p.fixed_count;
  slots["t"] = p.t, slots["x"] = p.x, slots["p"] = p.p, slots["u"] = p.u, slots["d"] = p.d, slots["h"] = p.h;
  slots["h_x"] = p.h_x, slots["h_u"] = p.h_u, slots["record_count"] = p.record_count;
  out["code"] = code, out["constants"] = array(p.constants), out["slots"] = slots;
  return out;
}

}  // namespace

void register_device(py::module_& module) {
  module.def("device_sweep_program", &sweep_program, py::arg("model"), py::arg("a"), py::arg("b"), py::arg("c"),
             py::kw_only(), py::arg("t0"), py::arg("linear_control"), py::arg("linear_data"), py::arg("backward"),
             py::arg("extended"), py::arg("uniform"),
             "The programs of a sweep for a GPU: code (K, 4) by name, constants, and sizes and slots by name.");
  module.def("device_point_program", &point_program, py::arg("model"),
             "The program of H, H_x and H_u at points for a GPU, in the same form.");
}

}  // namespace pontryagin
