// Sweeps of multilayer perceptrons over raw pointers. The Python side owns the tensors and has checked their shapes.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "bind/register.hpp"
#include "bind/run_sweep.hpp"
#include "bind/tableau.hpp"
#include "cpu/mlp_sweeper.hpp"

namespace py = pybind11;

namespace pontryagin {

namespace {

const char* const activation_names[activation_count] = {"identity",  "tanh", "relu",     "gelu",
                                                        "gelu_tanh", "silu", "softplus", "sin"};

int activation_named(const std::string& name) {
  for (int i = 0; i < activation_count; ++i)
    if (name == activation_names[i]) return i;
  throw py::value_error("activation " + name + " is not known");
}

class BoundMlpSweeper {
 public:
  BoundMlpSweeper(const std::vector<int>& widths, const std::vector<std::string>& activations,
                  const std::vector<bool>& bias, bool time, const std::vector<std::vector<double>>& a,
                  const std::vector<double>& b, const std::vector<double>& c, double state_cost, double velocity_cost)
      : widths_(widths),
        bias_(bias),
        time_(time),
        stages_(static_cast<int>(b.size())),
        sweeper_(checked(widths, activations, bias), codes(activations), bias, time, tableau_of(a, b, c),
                 {state_cost, velocity_cost}) {}

  double run(bool single, int steps, double t0, long batch, int weight_rows, bool backward, bool replay, double scale,
             double cost_scale, int threads, const std::array<Pointer, 10>& p, const std::vector<Pointer>& weights,
             const std::vector<Pointer>& gradients) {
    const std::size_t arrays = bias_.size() + static_cast<std::size_t>(std::count(bias_.begin(), bias_.end(), true));
    if (steps < 1 || batch < 0 || weight_rows < 1) throw py::value_error("a sweep needs steps and rows of weights");
    if (weights.size() != arrays || (backward && gradients.size() != arrays))
      throw py::value_error("expected one array for each parameter");
    const int* const rows = at<const int>(p[1]);
    for (long i = 0; i < static_cast<long>(steps) * stages_; ++i)
      if (rows[i] < 0 || rows[i] >= weight_rows)
        throw py::value_error("rows: stage " + std::to_string(i % stages_) + " of step " + std::to_string(i / stages_) +
                              " uses row " + std::to_string(rows[i]) + " of weights with " +
                              std::to_string(weight_rows) + " rows");
    double value = 0.0;
    bool completed;
    const auto go = [&](auto zero) {
      using T = decltype(zero);
      const std::size_t layers = bias_.size();
      std::vector<T*> w(layers), b(layers, nullptr), gw(layers, nullptr), gb(layers, nullptr);
      std::size_t next = 0;
      for (std::size_t l = 0; l < layers; ++l) {
        if (backward) gw[l] = at<T>(gradients[next]);
        w[l] = at<T>(weights[next++]);
        if (!bias_[l]) continue;
        if (backward) gb[l] = at<T>(gradients[next]);
        b[l] = at<T>(weights[next++]);
      }
      MlpJob<T> job;
      job.steps = steps, job.t0 = t0, job.length = at<double>(p[0]), job.rows = rows;
      job.weights = {w.data(), b.data()};
      job.initial_state = at<T>(p[2]), job.final_costate = at<T>(p[3]), job.target = at<T>(p[4]);
      job.cost_cotangent = at<T>(p[5]), job.scale = scale, job.cost_scale = cost_scale;
      job.backward = backward, job.replay = replay;
      job.final_state = at<T>(p[6]), job.cost = at<T>(p[7]), job.initial_gradient = at<T>(p[8]);
      return sweeper_.run<T>(job, batch, weight_rows, {gw.data(), gb.data()}, &value, at<T>(p[9]), threads, ctrl_c);
    };
    {
      const py::gil_scoped_release release;
      completed = single ? go(0.0f) : go(0.0);
    }
    throw_if_stopped(completed);
    return value;
  }

  long tape_bytes(bool single, long batch, int steps) const {
    return single ? sweeper_.tape_bytes<float>(batch, steps) : sweeper_.tape_bytes<double>(batch, steps);
  }

 private:
  static const std::vector<int>& checked(const std::vector<int>& widths, const std::vector<std::string>& activations,
                                         const std::vector<bool>& bias) {
    if (activations.empty() || widths.size() != activations.size() + 1 || bias.size() != activations.size())
      throw py::value_error("a net of n layers has n + 1 widths, n activations and n biases");
    for (const int width : widths)
      if (width < 1) throw py::value_error("widths are positive");
    if (widths.front() != widths.back())
      throw py::value_error("a vector field is as wide at its end as at its beginning");
    return widths;
  }
  static std::vector<int> codes(const std::vector<std::string>& names) {
    std::vector<int> all;
    for (const std::string& name : names) all.push_back(activation_named(name));
    return all;
  }

  std::vector<int> widths_;
  std::vector<bool> bias_;
  bool time_;
  int stages_;
  MlpSweeper sweeper_;
};

}  // namespace

void register_mlp(py::module_& module) {
  py::class_<BoundMlpSweeper>(module, "MlpSweeper", "Sweeps of one multilayer perceptron by one tableau.")
      .def(py::init<const std::vector<int>&, const std::vector<std::string>&, const std::vector<bool>&, bool,
                    const std::vector<std::vector<double>>&, const std::vector<double>&, const std::vector<double>&,
                    double, double>(),
           py::kw_only(), py::arg("widths"), py::arg("activations"), py::arg("bias"), py::arg("time"), py::arg("a"),
           py::arg("b"), py::arg("c"), py::arg("state_cost"), py::arg("velocity_cost"))
      .def("run", &BoundMlpSweeper::run, py::arg("single"), py::arg("steps"), py::arg("t0"), py::arg("batch"),
           py::arg("weight_rows"), py::arg("backward"), py::arg("replay"), py::arg("scale"), py::arg("cost_scale"),
           py::arg("threads"), py::arg("addresses"), py::arg("weights"), py::arg("gradients"),
           "Runs a batch; returns scale sum |x1 - y|^2 + cost_scale sum cost where a target is given. Addresses, 0 "
           "where\n"
           "not given or not wanted: lengths of steps, rows, initial state, final costate, target, cost\n"
           "cotangent; final state, cost, gradient in the initial state; tape.")
      .def("tape_bytes", &BoundMlpSweeper::tape_bytes, py::arg("single"), py::arg("batch"), py::arg("steps"),
           "Memory of the way forward of a whole batch.");
}

}  // namespace pontryagin
