// Newton's method on a GPU, a thread a problem: a few iterations of each in one launch. Between launches everything stays in
// memory; the host reads which ones still run, and starts others in their places.
//
// The text of a problem (pontryagin/codegen/cuda_newton.py) has the functions of its points.
#pragma once

#define PMP_THREAD_TILES 1  // device_columns.hpp

#include "newton_tile.hpp"

namespace pontryagin {

enum class NewtonVerb : int {
  measure,       // how much memory a thread wants
  choose_start,  // newton_tile.hpp
  iterate,
  give_up,
  find_slope  // of the Lagrangian, without what its bounds and its end add
};

// The argument of a kernel (NewtonJob in pontryagin/backend/cuda_newton_job.py). A place is the memory of one problem.
struct NewtonJob {
  NewtonProblem problem;
  NewtonSettings settings;
  NewtonBatch batch;
  NewtonVerb verb = NewtonVerb::measure;
  int iterations = 0;                // of one launch, at the most
  double favour = 0;                 // of choose_start
  long long threads = 0;             // T
  const long long* place = nullptr;  // [T] of each thread
  long long* starts = nullptr;       // [places] the problem that a place takes up, or -1 where it goes on
  long long group_rows = 0, own_bytes = 0;
  double* rows = nullptr;      // [ceil(places/32)][group_rows][32]
  char* own = nullptr;         // [places][own_bytes]
  const double* mu = nullptr;  // (B, N+1, rows) of c, for find_slope
  // results
  long long* sizes = nullptr;    // [2] group_rows and own_bytes, of measure
  long long* told = nullptr;     // [places] rows of the history that the problem has written; -1 where none runs
  NewtonRow* history = nullptr;  // [T][iterations] the rows from told on, as it was before the launch
  double* slope = nullptr;       // (B, N+1, nz) J_z + p F_z + w mu c_z
};

inline namespace PMP_ISA {

// pontryagin/backend/linearise.py, slope: of one problem, with the costates of the batch.
inline void find_slope(NewtonTile<1>& tile, const NewtonJob& job, long long problem) {
  const NewtonProblem& p = job.problem;
  const long nodes = p.steps + 1L;
  const double *costate = job.batch.costate + problem * nodes * p.ns, *mu = job.mu + problem * nodes * p.rows;
  double* slope = job.slope + problem * nodes * p.nz;
  tile.set_multipliers(0, costate, job.batch.end + problem * p.equalities, mu, 1.0);
  tile.find_slopes();
  const PointSlopes<Column>& found = tile.slopes();
  for (long k = 0; k < nodes; ++k)
    for (int a = 0; a < p.nz; ++a) {
      Column::Number sum = found.gradient[k * p.nz + a];
      for (int j = 0; k < p.steps && j < p.n; ++j)
        sum = fma(Column::Number(costate[(k + 1) * p.ns + j]), found.jacobian[(k * p.n + j) * p.nz + a], sum);
      for (int i = 0; i < p.rows; ++i)
        sum = fma(Column::Number(p.path_weights[k * p.rows + i] * mu[k * p.rows + i]),
                  found.path[(k * p.rows + i) * p.nz + a], sum);
      slope[k * p.nz + a] = sum.v[0];
    }
}

// What a thread does.
inline void newton_thread(const NewtonJob& job, long long thread) {
  const PointFunctions functions;  // call_point has them
  using Tile = NewtonTile<1>;
  if (job.verb == NewtonVerb::measure) {
    if (thread > 0) return;
    Arena counted(nullptr, nullptr);
    const Tile tile(job.problem, functions, job.settings, job.batch, nullptr, counted);
    job.sizes[0] = counted.used_rows(), job.sizes[1] = counted.used();
    return;
  }
  if (thread >= job.threads) return;  // the rest of the last block
  const long long place = job.place[thread], group = place / group_threads;
  Arena arena(job.rows + group * job.group_rows * group_threads + place % group_threads,
              job.own + place * job.own_bytes);
  const long long first = job.told[place] > 0 ? job.told[place] : 0;
  NewtonRow* const history = job.history == nullptr ? nullptr : job.history + thread * job.iterations;
  Tile tile(job.problem, functions, job.settings, job.batch, history == nullptr ? nullptr : history - first, arena);
  const long long problem = job.starts[place];
  if (problem >= 0) {
    tile.prepare();
    tile.add(static_cast<long>(problem));
    job.starts[place] = -1;
  }
  switch (job.verb) {
    case NewtonVerb::choose_start:
      tile.choose_start(job.favour);
      tile.clear();
      break;
    case NewtonVerb::iterate:
      for (int i = 0; i < job.iterations; ++i) history[i] = NewtonRow();
      for (int i = 0; i < job.iterations && tile.active() > 0; ++i) tile.iterate();
      break;
    case NewtonVerb::find_slope:
      find_slope(tile, job, problem);
      tile.clear();
      break;
    default: tile.find_values(); tile.give_up();
  }
  job.told[place] = tile.active() > 0 ? (tile.told() > 0 ? tile.told() : 0) : -1;
}

}  // namespace PMP_ISA
}  // namespace pontryagin
