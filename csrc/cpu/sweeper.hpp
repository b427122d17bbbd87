// A problem's sweep on the CPU: programs recorded and linked once, then run over batches by threads.
#pragma once

#include <mutex>
#include <vector>

#include "cpu/blocks.hpp"
#include "cpu/kernels.hpp"
#include "cpu/workspace.hpp"
#include "recorder/sweep_programs.hpp"

namespace pontryagin {

class Sweeper {
 public:
  Sweeper(const ModelCode& code, const Tableau& tableau, double t0, const SweepRequest& request);

  // Returns false if it was interrupted; the outputs are then incomplete.
  template <class T>
  bool run(const SweepJob<T>& job, long batch, int threads, Interrupted interrupted);

  const SweepPrograms& programs() const { return programs_; }

 private:
  struct Code {
    std::vector<Linked> prologue, forward[2], terminal[2], backward[2];
    LinkedSweep linked;
    bool ready = false;
  };
  template <class T>
  const LinkedSweep& linked_for(int choice);

  SweepPrograms programs_;
  std::mutex mutex_;
  Code code_[2][lane_choices];
  BatchWorkspaces workspaces_;
};

class PointEvaluator {
 public:
  explicit PointEvaluator(const ModelCode& code);
  template <class T>
  bool run(const PointJob<T>& job, long count, int threads, Interrupted interrupted);

 private:
  PointPrograms programs_;
  std::mutex mutex_;
  struct Code {
    std::vector<Linked> program;
    LinkedPoints linked;
    bool ready = false;
  };
  template <class T>
  const LinkedPoints& linked_for(int choice);
  Code code_[2][lane_choices];
  WorkspacePool workspaces_;
};

}  // namespace pontryagin
