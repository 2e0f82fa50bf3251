// Loosely timed: each burst on its way is a thread in `b_transport`, which waits for the delay that is annotated.
#include <deque>

#include <systemc>

#include "metronome_tlm.h"
#include "transfers.h"

namespace metronome {
namespace {

class Loosely : public sc_core::sc_module, public Way {
 public:
  Loosely(sc_core::sc_module_name name, Transfers& transfers, Port& port, std::uint64_t window)
      : sc_module(name), transfers_(transfers), port_(port), work_(window) {
    for (std::size_t one = 0; one < window; ++one) sc_core::sc_spawn([this, one] { go(one); });
  }

  void wake(std::uint64_t bursts) override {
    for (; bursts && !idle_.empty(); --bursts) {
      work_[idle_.front()].notify(sc_core::SC_ZERO_TIME);
      idle_.pop_front();
    }
  }

 private:
  void go(std::size_t one) {
    for (;;) {
      Burst* burst = transfers_.next();
      if (!burst) {
        idle_.push_back(one);
        sc_core::wait(work_[one]);
        continue;
      }
      sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
      port_.forward().b_transport(*burst, delay);
      if (delay != sc_core::SC_ZERO_TIME) sc_core::wait(delay);
      transfers_.landed(*burst);
      transfers_.reuse(*burst);
    }
  }

  Transfers& transfers_;
  Port& port_;
  std::deque<sc_core::sc_event> work_;
  std::deque<std::size_t> idle_;
};

}  // namespace

std::unique_ptr<Way> loosely_timed(Transfers& transfers, Port& port, std::uint64_t window) {
  return std::make_unique<Loosely>("loosely", transfers, port, window);
}

}  // namespace metronome
