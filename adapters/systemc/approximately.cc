// Approximately timed: the four phases of the base protocol. One request at a time is on its way to be accepted, as
// its exclusion rule wants; a response is accepted at once.
#include <set>

#include <systemc>
#include <tlm_utils/peq_with_cb_and_phase.h>

#include "metronome_tlm.h"
#include "transfers.h"

namespace metronome {
namespace {

class Approximately : public sc_core::sc_module, public Way, public tlm::tlm_mm_interface {
 public:
  Approximately(sc_core::sc_module_name name, Transfers& transfers, Port& port)
      : sc_module(name), transfers_(transfers), port_(port), coming_(this, &Approximately::came) {
    port.listen([this](tlm::tlm_generic_payload& what, tlm::tlm_phase& phase, sc_core::sc_time& delay) {
      coming_.notify(what, phase, delay);
      return tlm::TLM_ACCEPTED;
    });
    sc_core::sc_spawn_options method;
    method.spawn_method();
    method.set_sensitivity(&work_);
    method.dont_initialize();
    sc_core::sc_spawn([this] { ask(); }, "ask", &method);
  }

  void wake(std::uint64_t) override { work_.notify(sc_core::SC_ZERO_TIME); }

  void free(tlm::tlm_generic_payload* what) override {  // nobody holds it any more
    transfers_.reuse(static_cast<Burst&>(*what));
  }

 private:
  void ask() {
    while (!asking_) {
      Burst* burst = transfers_.next();
      if (!burst) return;
      flying_.insert(burst);
      asking_ = burst;
      burst->set_mm(this);
      burst->acquire();
      tlm::tlm_phase phase = tlm::BEGIN_REQ;
      sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
      const tlm::tlm_sync_enum said = port_.forward().nb_transport_fw(*burst, phase, delay);
      if (said == tlm::TLM_COMPLETED) phase = tlm::END_RESP;
      if (said != tlm::TLM_ACCEPTED) coming_.notify(*burst, phase, delay);
    }
  }

  void came(tlm::tlm_generic_payload& payload, const tlm::tlm_phase& phase) {
    if (!flying_.count(&payload)) fail("the target answered a request that is not on its way");
    if (asking_ == &payload) {
      asking_ = nullptr;
    } else if (phase == tlm::END_REQ) {
      fail("the target sent END_REQ for a request that was accepted before");
    }
    if (phase == tlm::BEGIN_RESP) {
      tlm::tlm_phase end = tlm::END_RESP;
      sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
      port_.forward().nb_transport_fw(payload, end, delay);
    } else if (phase != tlm::END_REQ && phase != tlm::END_RESP) {
      fail(std::string("the target sent phase ") + phase.get_name() + ", which is not the base protocol's");
    }
    if (phase != tlm::END_REQ) {
      flying_.erase(&payload);
      transfers_.landed(static_cast<Burst&>(payload));
      payload.release();
    }
    ask();
  }

  Transfers& transfers_;
  Port& port_;
  tlm_utils::peq_with_cb_and_phase<Approximately> coming_;
  sc_core::sc_event work_;
  tlm::tlm_generic_payload* asking_ = nullptr;
  std::set<tlm::tlm_generic_payload*> flying_;
};

}  // namespace

std::unique_ptr<Way> approximately_timed(Transfers& transfers, Port& port) {
  return std::make_unique<Approximately>("approximately", transfers, port);
}

}  // namespace metronome
