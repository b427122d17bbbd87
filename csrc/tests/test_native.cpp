// Sweeps by native libraries: the golden texts, compiled into this program in place of being opened at run time.
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wsubobject-linkage"  // a Model has no name outside of its text, which is included here
#endif
#include <cmath>
#include <random>
#include <stdexcept>

#include "allocations.hpp"
#include "check.hpp"
#include "native_cases.hpp"
#include "pontryagin/math_calls.hpp"
#include "pontryagin/model_sweep.hpp"

// A text is a whole library. Here each has a namespace for its Model and a name of its own for its entry; the headers that
// it includes are already there.
namespace cartpole {
#define pontryagin_table cartpole_table
#include "golden/cartpole.cpp"
#undef pontryagin_table
}  // namespace cartpole
namespace integrator {
#define pontryagin_table integrator_table
#include "golden/integrator.cpp"
#undef pontryagin_table
}  // namespace integrator
namespace pendulum {
#define pontryagin_table pendulum_table
#include "golden/pendulum.cpp"
#undef pontryagin_table
}  // namespace pendulum
namespace slider {
#define pontryagin_table slider_table
#include "golden/slider.cpp"
#undef pontryagin_table
}  // namespace slider
namespace van_der_pol {
#define pontryagin_table van_der_pol_table
#include "golden/van_der_pol.cpp"
#undef pontryagin_table
}  // namespace van_der_pol

namespace {

using namespace pontryagin;

template <class Request>
Library compiled(const char* name, const NativeTable* table) {
  return {name,
          table,
          Request::linear_control,
          Request::linear_data,
          Request::uniform,
          Request::backward,
          Request::extended};
}

template <class T>
void a_problem_has_the_same_bits_in_every_batch(const Library& library, int steps, std::mt19937& random) {
  NativeSweeper sweeper(library.table);
  const long batch = 100;
  const Case<T> c(library, steps, batch, random);
  const Results<T> whole = c.run(sweeper, 0, batch);
  for (const long count : {1L, 2L, 5L, 16L, 17L, 33L}) {
    c.expect_same(whole, 0, c.run(sweeper, 0, count), "in a smaller batch");
    c.expect_same(whole, batch - count, c.run(sweeper, batch - count, count), "in a later batch");
  }
  for (long i = 0; i < batch; ++i) c.expect_same(whole, i, c.run(sweeper, i, 1), "alone");
}

template <class T>
void threads_change_no_bit(const Library& library, std::mt19937& random) {
  NativeSweeper sweeper(library.table);
  const Case<T> c(library, 300, 100, random);  // enough work for more than one thread
  for (const bool shared : {false, true})
    c.expect_same(c.run(sweeper, 0, 100, 1, shared), 0, c.run(sweeper, 0, 100, 4, shared), "on four threads");
}

// Steps for which the tape of one problem holds the whole horizon, and that of many lanes does not.
template <class T>
int steps_in_segments(const Library& library) {
  const auto* kernels = static_cast<const NativeKernel<T>*>(library.table->kernels);
  const auto slots = [&](int kernel, int steps) {
    SweepJob<T> job;
    job.steps = steps;
    return static_cast<double>(kernels[kernel].workspace_slots(job));
  };
  int steps = 64;
  while (slots(1, steps) > 0.9 * kernels[1].lanes * slots(0, steps)) steps += steps / 8;
  return steps;
}

template <class T>
void segments_change_no_bit(const Library& library, std::mt19937& random) {
  NativeSweeper sweeper(library.table);
  const int least = steps_in_segments<T>(library),
            lanes = static_cast<const NativeKernel<T>*>(library.table->kernels)[1].lanes;
  for (const int steps : {least, least + 1, 3 * least / 2, 2 * least + 1}) {
    const Case<T> c(library, steps, lanes, random);
    const Results<T> whole = c.run(sweeper, 0, lanes);
    for (int i = 0; i < lanes; ++i) c.expect_same(whole, i, c.run(sweeper, i, 1), "in segments");
  }
}

template <class T>
void an_output_alone_has_the_bits_that_it_has_among_others(const Library& library, std::mt19937& random) {
  NativeSweeper sweeper(library.table);
  const Case<T> c(library, 5, 18, random);
  const Results<T> all = c.run(sweeper, 0, 18);
  c.run(sweeper, 0, 18, 1, false, 0);
  for (int i = 0; i < outputs; ++i) c.expect_same(all, 0, c.run(sweeper, 0, 18, 1, false, 1 << i), "alone");
}

// The derivative in a shared control is the sum over the batch, whatever was in the array before.
template <class T>
void a_shared_control_sums_the_batch(const Library& library, std::mt19937& random) {
  NativeSweeper sweeper(library.table);
  const long batch = 37;
  Case<T> c(library, 6, batch, random);
  const long size = c.input_size(control);
  for (long i = size; i < batch * size; ++i)
    c.of[control][static_cast<std::size_t>(i)] = c.of[control][static_cast<std::size_t>(i - size)];
  const Results<T> own = c.run(sweeper, 0, batch), shared = c.run(sweeper, 0, batch, 1, true);
  for (int i = 0; i < outputs; ++i) {
    if (i == control_d) continue;
    const std::size_t bytes = static_cast<std::size_t>(own.of[i].size()) * sizeof(T);
    CHECK(std::memcmp(own.of[i].values(), shared.of[i].values(), bytes) == 0, "%s: %s with a shared control",
          library.name, output_names[i]);
  }
  if (!library.backward) return;
  const double rounding = sizeof(T) == 8 ? 1e-13 : 1e-5;  // some forty roundings
  for (long k = 0; k < size; ++k) {
    double sum = 0.0, largest = 0.0;
    for (long i = 0; i < batch; ++i) {
      const double term = static_cast<double>(own.of[control_d].values()[i * size + k]);
      sum += term, largest = std::fmax(largest, std::fabs(term));
    }
    const double found = static_cast<double>(shared.of[control_d].values()[k]);
    CHECK(std::fabs(found - sum) <= rounding * largest * batch, "%s: sum %g, expected %g", library.name, found, sum);
  }
}

// What the derivatives differentiate: J_a, and the states times their cotangents.
double value(const Library& library, const Case<double>& c, const Results<double>& results, long problem) {
  double sum = results.of[lagrangian].values()[problem];
  const long path = c.output_size(state);
  for (long i = problem * path; library.extended && i < (problem + 1) * path; ++i)
    sum += c.of[cotangent][static_cast<std::size_t>(i)] * results.of[state].values()[i];
  return sum;
}

void derivatives_match_central_differences(const Library& library, std::mt19937& random) {
  NativeSweeper sweeper(library.table);
  const long batch = 3;
  const Case<double> c(library, 4, batch, random);
  const Results<double> at = c.run(sweeper, 0, batch);
  const struct {
    Input argument;
    Output derivative;
  } pairs[] = {{control, control_d}, {initial_state, initial_d}, {parameters, parameter_d}, {final_time, final_time_d}};
  // Rounding 1e-16 / 1e-6 and truncation 1e-12, times values of the order of the derivative.
  const double step = 1e-6, tolerance = 1e-7;
  std::uniform_real_distribution<double> unit(-1.0, 1.0);
  for (const auto& [argument, derivative] : pairs) {
    if (!c.has(derivative)) continue;
    Case<double> up = c, down = c;
    std::vector<double> along(c.of[argument].size());
    for (std::size_t i = 0; i < along.size(); ++i) {
      along[i] = unit(random);
      up.of[argument][i] += step * along[i], down.of[argument][i] -= step * along[i];
    }
    const Results<double> above = up.run(sweeper, 0, batch), below = down.run(sweeper, 0, batch);
    const long size = c.input_size(argument);
    for (long problem = 0; problem < batch; ++problem) {
      double expected = 0.0, scale = 1.0;
      for (long i = problem * size; i < (problem + 1) * size; ++i) {
        const double part = at.of[derivative].values()[i] * along[static_cast<std::size_t>(i)];
        expected += part, scale += std::fabs(part);
      }
      const double found = (value(library, up, above, problem) - value(library, down, below, problem)) / (2 * step);
      CHECK(std::fabs(found - expected) <= tolerance * scale, "%s: %s is %.12g, differences say %.12g", library.name,
            output_names[derivative], expected, found);
    }
  }
}

template <class T>
void nothing_is_allocated_after_the_first_call(const Library& library, std::mt19937& random) {
  if (!counts_allocations) return;
  for (const bool shared : {false, true})
    for (const long batch : {1L, 40L, 200L}) {
      NativeSweeper sweeper(library.table);
      const Case<T> c(library, 50, batch, random);
      Results<T> results;
      const SweepJob<T> job = c.job_of(0, batch, shared, c.everything, results);
      const long before = allocations();
      sweeper.run(job, batch, 1, nullptr);
      const long first = allocations();
      sweeper.run(job, batch, 1, nullptr);
      const long second = allocations();
      CHECK(first > before, "%s: the first call allocates nothing, so that nothing is counted", library.name);
      CHECK(second == first, "%s, B = %ld%s: %ld allocations in the second call", library.name, batch,
            shared ? ", shared control" : "", second - first);
    }
}

template <class Call>
bool refused(Call call) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

void libraries_that_do_not_fit_are_refused() {
  NativeTable other = *cartpole::cartpole_table();
  ++other.border;
  CHECK(refused([] { NativeSweeper sweeper(nullptr); }), "no table");
  CHECK(refused([&] { NativeSweeper sweeper(&other); }), "a table of another version");
  NativeSweeper sweeper(cartpole::cartpole_table());
  CHECK(refused([&] { sweeper.run(SweepJob<float>(), 1, 1, nullptr); }), "another scalar type");
}

template <class T>
void sweep_in_all_ways(const Library& library, std::mt19937& random) {
  for (const int steps : {1, 2, 9}) a_problem_has_the_same_bits_in_every_batch<T>(library, steps, random);
  threads_change_no_bit<T>(library, random);
  if (library.backward) segments_change_no_bit<T>(library, random);
  an_output_alone_has_the_bits_that_it_has_among_others<T>(library, random);
  a_shared_control_sums_the_batch<T>(library, random);
  nothing_is_allocated_after_the_first_call<T>(library, random);
}

}  // namespace

int main() {
  std::mt19937 random(11);
  for (const Library& smooth : {compiled<cartpole::Request>("cart-pole", cartpole::cartpole_table()),
                                compiled<pendulum::Request>("pendulum", pendulum::pendulum_table()),
                                compiled<van_der_pol::Request>("Van der Pol", van_der_pol::van_der_pol_table())}) {
    sweep_in_all_ways<double>(smooth, random);
    derivatives_match_central_differences(smooth, random);
  }
  sweep_in_all_ways<double>(compiled<integrator::Request>("integrator", integrator::integrator_table()), random);
  sweep_in_all_ways<float>(compiled<slider::Request>("slider", slider::slider_table()), random);
  libraries_that_do_not_fit_are_refused();
  return report();
}
