// A problem's sweep on the CPU: programs recorded and linked once, then run over batches by threads.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "cpu/kernels.hpp"
#include "recorder/sweep_programs.hpp"

namespace pontryagin {

// Memory of one block, aligned for vectors, kept between calls so that a sweep allocates nothing.
class Workspace {
 public:
  void* reserve(std::size_t bytes);

 private:
  struct Free {
    void operator()(void* pointer) const;
  };
  std::unique_ptr<void, Free> memory_;
  std::size_t bytes_ = 0;
};

class WorkspacePool {
 public:
  std::unique_ptr<Workspace> take();
  void give(std::unique_ptr<Workspace> workspace);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

// Called now and then from the calling thread; true asks the sweep to stop.
using Interrupted = bool (*)();

class Sweeper {
 public:
  Sweeper(const ModelCode& code, const Tableau& tableau, double t0, const SweepRequest& request);

  // Returns false if it was interrupted; the outputs are then incomplete.
  template <class T>
  bool run(const SweepJob<T>& job, long batch, int threads, Interrupted interrupted);

  const SweepPrograms& programs() const { return programs_; }

 private:
  struct Code {
    std::vector<Linked> prologue, forward, terminal, backward;
    LinkedSweep linked;
    bool ready = false;
  };
  template <class T>
  const LinkedSweep& linked_for(int choice);

  SweepPrograms programs_;
  std::mutex mutex_;
  Code code_[2][lane_choices];
  WorkspacePool workspaces_;
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
