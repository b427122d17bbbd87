// A captured problem as the core knows it: graphs as arrays.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bind/code.hpp"
#include "bind/register.hpp"
#include "recorder/graph_model.hpp"

namespace py = pybind11;

namespace pontryagin {

void register_model(py::module_& module) {
  py::class_<ModelCode>(module, "Model", "Graphs of one problem: dynamics, its pullback, terminal functions, theirs.")
      .def(py::init([](int n, int m, int q, int nd, int equalities, int inequalities, const py::tuple& dynamics,
                       const py::tuple& pullback, const py::tuple& terminal, const py::tuple& terminal_pullback) {
             ModelCode model;
             model.sizes = {n, m, q, nd, equalities, equalities + inequalities};
             model.dynamics = code_of(dynamics);
             model.pullback = code_of(pullback);
             model.terminal = code_of(terminal);
             model.terminal_pullback = code_of(terminal_pullback);
             model.validate();
             return model;
           }),
           py::kw_only(), py::arg("n"), py::arg("m"), py::arg("q"), py::arg("nd"), py::arg("equalities"),
           py::arg("inequalities"), py::arg("dynamics"), py::arg("pullback"), py::arg("terminal"),
           py::arg("terminal_pullback"));
}

}  // namespace pontryagin
