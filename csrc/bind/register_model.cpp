// A captured problem as the core knows it: graphs as arrays.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bind/register.hpp"
#include "recorder/graph_model.hpp"

namespace py = pybind11;

namespace pontryagin {

namespace {

template <class T>
std::vector<T> vector_of(const py::handle& array) {
  const auto converted = py::array_t < T, py::array::c_style | py::array::forcecast > ::ensure(array);
  if (!converted || converted.ndim() != 1) throw py::value_error("graph code: expected one-dimensional arrays");
  return std::vector<T>(converted.data(), converted.data() + converted.size());
}

Code code_of(const py::tuple& arrays) {
  if (arrays.size() != 6) throw py::value_error("graph code: expected (op, a, b, c, value, outputs)");
  Code code;
  code.op = vector_of<std::int32_t>(arrays[0]);
  code.a = vector_of<std::int32_t>(arrays[1]);
  code.b = vector_of<std::int32_t>(arrays[2]);
  code.c = vector_of<std::int32_t>(arrays[3]);
  code.value = vector_of<double>(arrays[4]);
  code.outputs = vector_of<std::int32_t>(arrays[5]);
  return code;
}

}  // namespace

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
