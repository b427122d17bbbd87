// The private extension `pontryagin._core`: one register_* call for each concept.
#include <pybind11/pybind11.h>

#include "bind/register.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "Compiled core of pontryagin: recorded programs of Runge-Kutta sweeps, run over SIMD lanes. Private.";
  pontryagin::register_info(module);
  pontryagin::register_model(module);
  pontryagin::register_sweeper(module);
  pontryagin::register_device(module);
  pontryagin::register_native(module);
  pontryagin::register_mlp(module);
  pontryagin::register_newton(module);
}
