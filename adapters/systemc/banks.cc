// A target to try things with, and to begin yours from: banks that share a bus, loosely timed.
//
// A burst lies in the bank (address / stripe_bytes) mod banks. It waits for its bank, is accessed for access_ns, waits
// for the bus, and is on it for bytes / bandwidth_gb_s; bank and bus serve in the order in which they are asked. The
// bank is free when its data leaves. So, alone, a burst takes access + bytes / bandwidth; a stream over all banks
// access + all bytes / bandwidth, where the banks keep up with the bus.
#include <algorithm>
#include <cmath>
#include <vector>

#include <systemc>
#include <tlm_utils/simple_target_socket.h>

#include "metronome_tlm.h"

namespace {

using sc_core::sc_time;

struct Banks : sc_core::sc_module {
  tlm_utils::simple_target_socket<Banks> socket{"socket"};

  Banks(sc_core::sc_module_name name, const metronome::Settings& settings)
      : sc_module(name),
        bandwidth_gb_s_(settings.number("bandwidth_gb_s", 16)),
        access_ps_(std::llround(settings.number("access_ns", 30) * 1e3)),
        stripe_bytes_(settings.whole("stripe_bytes", 64)),
        banks_(settings.whole("banks", 16)) {
    if (!(bandwidth_gb_s_ > 0)) settings.refuse("bandwidth_gb_s", "more than 0");
    if (access_ps_ < 0) settings.refuse("access_ns", "not negative");
    if (!stripe_bytes_) settings.refuse("stripe_bytes", "at least 1");
    if (banks_.empty() || banks_.size() > 1 << 16) settings.refuse("banks", "from 1 to 65536");
    socket.register_b_transport(this, &Banks::b_transport);
  }

  void b_transport(tlm::tlm_generic_payload& burst, sc_time& delay) {
    const std::int64_t now = std::int64_t((sc_core::sc_time_stamp() + delay).value());
    std::int64_t& bank = banks_[burst.get_address() / stripe_bytes_ % banks_.size()];
    const std::int64_t ready = std::max(now, bank) + access_ps_;
    const std::int64_t on_bus = std::llround(burst.get_data_length() * 1e3 / bandwidth_gb_s_);
    bank = bus_ = std::max(ready, bus_) + on_bus;
    delay += sc_time::from_value(std::uint64_t(bus_ - now));
    burst.set_response_status(tlm::TLM_OK_RESPONSE);
  }

 private:
  const double bandwidth_gb_s_;
  const std::int64_t access_ps_;  // ps, as all that follows
  const std::uint64_t stripe_bytes_;
  std::vector<std::int64_t> banks_;  // when each is free
  std::int64_t bus_ = 0;
};

}  // namespace

void metronome::target(const Settings& settings, Port& port) { port.bind((new Banks("banks", settings))->socket); }
