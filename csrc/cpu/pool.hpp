// Threads that wait for work: starting one for each call would cost as much as a small sweep.
//
// There is one pool in a process. A call offers tickets; whoever of the workers is awake, or is woken, takes one and runs
// the task. The caller withdraws what nobody took when it has done the work itself, so no call waits for a worker that the
// system does not schedule. A process made by fork() has none of these threads and starts a pool of its own.
#pragma once

namespace pontryagin {

// A call of something that outlives it, on any thread. It must not throw.
class Task {
 public:
  template <class F>
  explicit Task(const F& body)
      : object_(&body), call_([](const void* object) { (*static_cast<const F*>(object))(); }) {}
  Task() = default;
  void operator()() const { call_(object_); }

 private:
  const void* object_ = nullptr;
  void (*call_)(const void*) = nullptr;
};

// Runs `own` on the calling thread and `task` on up to `others` more. Returns when all that began have ended. While
// another thread has the pool, the calling thread is alone.
void run_with_others(int others, Task task, Task own);

}  // namespace pontryagin
