// What the sweeps of native libraries are tested with: random arguments, and results between guards.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <random>
#include <vector>

#include "check.hpp"
#include "cpu/native_sweeper.hpp"

namespace pontryagin {

// A library, and what it was compiled for.
struct Library {
  const char* name;
  const NativeTable* table;
  bool linear_control, linear_data, uniform, backward, extended;
};

enum Input { control, initial_state, final_time, parameters, data, multipliers, penalties, weight, cotangent, inputs };
enum Output {
  objective,
  lagrangian,
  terminal,
  state,
  costate,
  control_d,
  initial_d,
  parameter_d,
  final_time_d,
  outputs
};
constexpr const char* output_names[outputs] = {"objective",
                                               "lagrangian",
                                               "terminal",
                                               "state",
                                               "costate",
                                               "control derivative",
                                               "initial state derivative",
                                               "parameter derivative",
                                               "final time derivative"};

template <class T>
constexpr const T* SweepJob<T>::* input_fields[inputs] = {
    &SweepJob<T>::control,        &SweepJob<T>::initial_state,
    &SweepJob<T>::final_time,     &SweepJob<T>::parameters,
    &SweepJob<T>::data,           &SweepJob<T>::multipliers,
    &SweepJob<T>::penalties,      &SweepJob<T>::objective_cotangent,
    &SweepJob<T>::state_cotangent};
template <class T>
constexpr T* SweepJob<T>::* output_fields[outputs] = {&SweepJob<T>::objective,
                                                      &SweepJob<T>::lagrangian,
                                                      &SweepJob<T>::terminal,
                                                      &SweepJob<T>::state,
                                                      &SweepJob<T>::costate,
                                                      &SweepJob<T>::control_derivative,
                                                      &SweepJob<T>::initial_state_derivative,
                                                      &SweepJob<T>::parameter_derivative,
                                                      &SweepJob<T>::final_time_derivative};

// Numbers that nobody has written yet, between guards that nobody may write to.
template <class T>
class Guarded {
 public:
  static constexpr long guard = 33;  // odd: nobody may rely on more than the alignment of T
  static constexpr T poison = T(-123456.78);
  explicit Guarded(long size = 0) : size_(size), cells_(static_cast<std::size_t>(size + 2 * guard), poison) {}
  T* values() { return cells_.data() + guard; }
  const T* values() const { return cells_.data() + guard; }
  long size() const { return size_; }
  bool complete() const { return std::find(values(), values() + size_, poison) == values() + size_; }
  bool guards_hold() const {
    const auto poisoned = [](T cell) { return cell == poison; };
    return std::all_of(cells_.data(), values(), poisoned) &&
           std::all_of(values() + size_, cells_.data() + cells_.size(), poisoned);
  }

 private:
  long size_;
  std::vector<T> cells_;
};

template <class T>
struct Results {
  Guarded<T> of[outputs];
};

// Random arguments of a batch of sweeps.
template <class T>
class Case {
 public:
  Case(const Library& library, int steps, long batch, std::mt19937& random)
      : library_(library), steps_(steps), batch_(batch) {
    std::uniform_real_distribution<double> unit(-1.0, 1.0), positive(0.5, 1.5);
    tau_.push_back(0.0);
    for (int k = 0; k < steps; ++k) tau_.push_back(tau_.back() + (library.uniform ? 1.0 : positive(random)));
    for (double& node : tau_) node /= tau_[static_cast<std::size_t>(steps)];
    for (int i = 0; i < inputs; ++i)
      for (long k = batch * input_size(i); k-- > 0;)
        of[i].push_back(
            static_cast<T>(i == final_time || i == penalties || i == weight ? positive(random) : unit(random)));
  }

  // Sweeps problems first .. first + count - 1 for what is wanted (all that the library has by default).
  Results<T> run(NativeSweeper& sweeper, long first, long count, int threads = 1, bool shared = false,
                 int wanted = everything) const {
    Results<T> results;
    const SweepJob<T> job = job_of(first, count, shared, wanted, results);
    CHECK(sweeper.run(job, count, threads, nullptr), "%s: interrupted by nobody", library_.name);
    for (int i = 0; i < outputs; ++i) {
      CHECK(results.of[i].guards_hold(), "%s, N = %d, B = %ld: written outside of %s", library_.name, steps_, count,
            output_names[i]);
      CHECK(results.of[i].complete(), "%s, N = %d, B = %ld: %s is incomplete", library_.name, steps_, count,
            output_names[i]);
    }
    return results;
  }

  SweepJob<T> job_of(long first, long count, bool shared, int wanted, Results<T>& results) const {
    SweepJob<T> job;
    job.steps = steps_, job.tau = tau_.data(), job.t0 = 0.25;
    job.control_stride = shared ? 0 : input_size(control), job.data_stride = input_size(data);
    for (int i = 0; i < inputs; ++i)
      if (library_.extended || (i != weight && i != cotangent))
        job.*input_fields<T>[i] = of[i].data() + (i == control && shared ? 0 : first * input_size(i));
    for (int i = 0; i < outputs; ++i) {
      if (!has(i) || !(wanted >> i & 1)) continue;
      results.of[i] = Guarded<T>((i == control_d && shared ? 1 : count) * output_size(i));
      job.*output_fields<T>[i] = results.of[i].values();
    }
    return job;
  }

  // Problems first .. of `part` against all of `whole`, to the bit.
  void expect_same(const Results<T>& whole, long first, const Results<T>& part, const char* when) const {
    for (int i = 0; i < outputs; ++i) {
      if (part.of[i].size() == 0) continue;
      const std::size_t bytes = static_cast<std::size_t>(part.of[i].size()) * sizeof(T);
      CHECK(std::memcmp(whole.of[i].values() + first * output_size(i), part.of[i].values(), bytes) == 0,
            "%s, N = %d: %s of %ld.. differs %s", library_.name, steps_, output_names[i], first, when);
    }
  }

  bool has(int output) const {
    if (output <= state) return true;
    return library_.backward && (library_.extended || output <= initial_d);
  }
  long input_size(int input) const {
    const NativeTable& s = *library_.table;
    const long sizes[inputs] = {(steps_ + library_.linear_control) * static_cast<long>(s.m),
                                s.n,
                                1,
                                s.q,
                                (steps_ + library_.linear_data) * static_cast<long>(s.nd),
                                s.r,
                                s.r,
                                1,
                                (steps_ + 1) * static_cast<long>(s.n)};
    return sizes[input];
  }
  long output_size(int output) const {
    const long path = input_size(cotangent);
    const long sizes[outputs] = {1,
                                 1,
                                 input_size(multipliers),
                                 path,
                                 path,
                                 input_size(control),
                                 input_size(initial_state),
                                 input_size(parameters),
                                 1};
    return sizes[output];
  }

  static constexpr int everything = (1 << outputs) - 1;
  std::vector<T> of[inputs];

 private:
  Library library_;
  int steps_;
  long batch_;
  std::vector<double> tau_;
};

}  // namespace pontryagin
