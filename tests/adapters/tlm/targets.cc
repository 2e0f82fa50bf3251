// Targets for the tests of adapters/systemc, by the setting `target`:
//   pipe     approximately timed: accepts a request every `accept_ps`, answers it `latency_ps` later, one each `beat_ps`
//   at-once  answers every request in the same moment
//   clocked  blocks for `cycles` edges of a clock of 1 ns
//   rows     loosely timed: `miss_ps` where the row of 1 KiB is another than the burst before it had, else `hit_ps`;
//            addresses from `limit` on are errors
//   turns    loosely timed: `hit_ps`, and `miss_ps` more where the burst before it went the other way
// and those that do not do what they should: never, forever, wakes, fatal, error, throws, stops, address, silent, exits,
// crashes, resolution, unbound, late-fatal
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <stdexcept>

#include <systemc>
#include <tlm_utils/peq_with_cb_and_phase.h>
#include <tlm_utils/simple_target_socket.h>

#include "metronome_tlm.h"

namespace {

using sc_core::sc_time;

sc_time ps(std::uint64_t value) { return sc_time::from_value(value); }

std::uint64_t now() { return sc_core::sc_time_stamp().value(); }

struct Pipe : sc_core::sc_module {
  tlm_utils::simple_target_socket<Pipe, 64> socket{"socket"};

  Pipe(sc_core::sc_module_name name, const metronome::Settings& settings)
      : sc_module(name),
        accept_(settings.whole("accept_ps", 1000)),
        latency_(settings.whole("latency_ps", 50000)),
        beat_(settings.whole("beat_ps", 4000)),
        phases_(this, &Pipe::phase) {
    socket.register_nb_transport_fw(this, &Pipe::nb_transport_fw);
  }

  tlm::tlm_sync_enum nb_transport_fw(tlm::tlm_generic_payload& burst, tlm::tlm_phase& phase, sc_time& delay) {
    if (phase == tlm::END_RESP) {
      burst.release();
      return tlm::TLM_COMPLETED;
    }
    if (accepting_) SC_REPORT_FATAL("pipe", "a request while another waits to be accepted");
    accepting_ = true;
    burst.acquire();
    phases_.notify(burst, tlm::END_REQ, delay + ps(accept_));
    free_ = std::max(now() + latency_, free_ + beat_);
    phases_.notify(burst, tlm::BEGIN_RESP, ps(free_ - now()));
    return tlm::TLM_ACCEPTED;
  }

  void phase(tlm::tlm_generic_payload& burst, const tlm::tlm_phase& what) {
    tlm::tlm_phase phase = what;
    sc_time delay;
    if (what == tlm::END_REQ) accepting_ = false;
    else burst.set_response_status(tlm::TLM_OK_RESPONSE);
    if (socket->nb_transport_bw(burst, phase, delay) == tlm::TLM_COMPLETED) burst.release();
  }

  const std::uint64_t accept_, latency_, beat_;
  std::uint64_t free_ = 0;
  bool accepting_ = false;
  tlm_utils::peq_with_cb_and_phase<Pipe> phases_;
};

struct Odd : sc_core::sc_module {
  tlm_utils::simple_target_socket<Odd> socket{"socket"};

  Odd(sc_core::sc_module_name name, const std::string& what, const metronome::Settings& settings)
      : sc_module(name), what_(what), hit_(settings.whole("hit_ps", 5000)), miss_(settings.whole("miss_ps", 40000)),
        cycles_(settings.whole("cycles", 3)), limit_(settings.whole("limit", 1ull << 50)) {
    socket.register_b_transport(this, &Odd::b_transport);
    if (what == "clocked" || what == "forever") clock_.reset(new sc_core::sc_clock("clock", sc_time(1, sc_core::SC_NS)));
  }

  void b_transport(tlm::tlm_generic_payload& burst, sc_time& delay) {
    if (what_ == "never" || what_ == "forever") sc_core::wait(nothing_);
    if (what_ == "wakes")
      for (;;) sc_core::wait(sc_core::SC_ZERO_TIME);
    if (what_ == "fatal") SC_REPORT_FATAL("odd", "out of sand");
    if (what_ == "late-fatal" && ++asked_ == 5) SC_REPORT_FATAL("odd", "out of sand");
    if (what_ == "error") SC_REPORT_ERROR("odd", "out of sand");
    if (what_ == "throws") throw std::runtime_error("out of sand");
    if (what_ == "stops") sc_core::sc_stop();
    if (what_ == "exits") std::cout << "out of sand" << std::endl, std::_Exit(3);
    if (what_ == "crashes") std::cout << "out of sand" << std::endl, std::abort();
    if (what_ == "silent") return;
    burst.set_response_status(what_ == "address" ? tlm::TLM_ADDRESS_ERROR_RESPONSE : tlm::TLM_OK_RESPONSE);
    if (what_ == "late-fatal") delay += ps(1000);
    if (what_ == "clocked")
      for (std::uint64_t edge = 0; edge < cycles_; ++edge) sc_core::wait(clock_->posedge_event());
    if (burst.get_address() >= limit_) burst.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
    if (what_ == "turns") {
      free_ = std::max(now(), free_) + hit_ + (asked_++ && burst.is_write() != wrote_ ? miss_ : 0);
      wrote_ = burst.is_write();
      delay += ps(free_ - now());
    }
    if (what_ == "rows") {
      const std::uint64_t row = burst.get_address() >> 10;
      free_ = std::max(now(), free_) + (row == row_ ? hit_ : miss_);
      row_ = row;
      delay += ps(free_ - now());
    }
  }

  const std::string what_;
  const std::uint64_t hit_, miss_, cycles_, limit_;
  std::uint64_t free_ = 0, row_ = ~std::uint64_t(0), asked_ = 0;
  bool wrote_ = false;
  sc_core::sc_event nothing_;
  std::unique_ptr<sc_core::sc_clock> clock_;
};

}  // namespace

void metronome::target(const Settings& settings, Port& port) {
  const std::string what = settings.text("target", "pipe");
  if (what == "resolution") sc_core::sc_set_time_resolution(1, sc_core::SC_FS);
  if (what == "unbound") return;
  if (what == "pipe") port.bind((new Pipe("pipe", settings))->socket);
  else port.bind((new Odd("odd", what, settings))->socket);
}
