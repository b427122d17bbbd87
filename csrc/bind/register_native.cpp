// Sweeps by libraries that were compiled at run time. Python opens them; here their tables are used.
#include <pybind11/stl.h>

#include "bind/register.hpp"
#include "bind/run_sweep.hpp"
#include "cpu/native_sweeper.hpp"

namespace py = pybind11;

namespace pontryagin {

namespace {

class BoundNativeSweeper {
 public:
  BoundNativeSweeper(Pointer table, double t0) : t0_(t0), sweeper_(at<const NativeTable>(table)) {}

  void run(bool single, int steps, long batch, long control_stride, long data_stride, int threads,
           const SweepAddresses& address) {
    run_with(sweeper_, single, steps, t0_, batch, control_stride, data_stride, threads, address);
  }

  // For a job with these outputs; only whether they are wanted matters.
  long workspace_bytes(int steps, bool state, bool costate, bool state_cotangent) const {
    SweepAddresses address{};
    address[13] = state, address[14] = costate, address[9] = state_cotangent;
    return sweeper_.table().float_bits == 32 ? sweeper_.workspace_bytes(job_of<float>(steps, t0_, 0, 0, address))
                                             : sweeper_.workspace_bytes(job_of<double>(steps, t0_, 0, 0, address));
  }

 private:
  double t0_;
  NativeSweeper sweeper_;
};

}  // namespace

void register_native(py::module_& module) {
  py::class_<BoundNativeSweeper>(module, "NativeSweeper", "Sweeps by a compiled library, which must stay open.")
      .def(py::init<Pointer, double>(), py::arg("table"), py::kw_only(), py::arg("t0"))
      .def("run", &BoundNativeSweeper::run, py::arg("single"), py::arg("steps"), py::arg("batch"),
           py::arg("control_stride"), py::arg("data_stride"), py::arg("threads"), py::arg("addresses"),
           "Runs a batch; as Sweeper.run.")
      .def("workspace_bytes", &BoundNativeSweeper::workspace_bytes, py::arg("steps"), py::kw_only(), py::arg("state"),
           py::arg("costate"), py::arg("state_cotangent"), "Memory of one block of lanes; each thread has one.");
}

}  // namespace pontryagin
