// Graphs as arrays, from Python's tuples.
#pragma once

#include <pybind11/numpy.h>

#include "recorder/graph_model.hpp"

namespace pontryagin {

template <class T>
std::vector<T> vector_of(const pybind11::handle& array) {
  namespace py = pybind11;
  const auto converted = py::array_t < T, py::array::c_style | py::array::forcecast > ::ensure(array);
  if (!converted || converted.ndim() != 1) throw py::value_error("graph code: expected one-dimensional arrays");
  return std::vector<T>(converted.data(), converted.data() + converted.size());
}

inline Code code_of(const pybind11::tuple& arrays) {
  if (arrays.size() != 6) throw pybind11::value_error("graph code: expected (op, a, b, c, value, outputs)");
  Code code;
  code.op = vector_of<std::int32_t>(arrays[0]);
  code.a = vector_of<std::int32_t>(arrays[1]);
  code.b = vector_of<std::int32_t>(arrays[2]);
  code.c = vector_of<std::int32_t>(arrays[3]);
  code.value = vector_of<double>(arrays[4]);
  code.outputs = vector_of<std::int32_t>(arrays[5]);
  return code;
}

}  // namespace pontryagin
