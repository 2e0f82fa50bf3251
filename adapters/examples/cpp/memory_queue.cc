// A component in C++: a memory with one first-come-first-served queue, `latency + bytes / bandwidth` each.
//
// It has a clock (CONSERVATIVE): it is granted time, completes what ends within the grant, and says when the
// next operation will end. The rules are in docs/coupling.md; `metronome conformance` checks them.
#include <cmath>
#include <deque>
#include <set>

#include "host.h"

namespace {

const std::set<std::string> kKinds = {"read", "write", "copy"};
constexpr uint64_t kMaxBatch = 20000;

struct Done {
  uint64_t id;
  int64_t start, finish;
};

struct Session {
  mc::SimulateResponse Advance(const mc::SimulateRequest& request);

  double bandwidth_gb_s = 0, latency_ns = 0;
  std::map<uint32_t, std::string> templates;
  int64_t now = 0, free = 0;
  std::deque<Done> queue;  // in order of their ends
  std::set<uint64_t> open;
};

mc::SimulateResponse Session::Advance(const mc::SimulateRequest& request) {
  const mc::Operations& given = request.operations();
  int count = given.template_id_size();
  if (uint64_t(count) > kMaxBatch) return Fault(request.seq(), mc::FAULT_CODE_OVERLOAD, 0, "too many operations at once");
  std::set<uint64_t> fresh;
  for (int i = 0, value = 0; i < count; value += given.value_count(i), ++i) {  // all are checked before any is taken
    uint64_t id = given.op_id_size() ? given.op_id(i) : 0;
    int64_t at = given.at_ps_size() ? given.at_ps(i) : 0;
    if (!templates.count(given.template_id(i)))
      return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, id, "its template was never declared");
    if (given.value_count(i) != 1 || given.value(value) < 0)
      return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, id, "an operation takes its bytes, not negative");
    if (open.count(id) || !fresh.insert(id).second)
      return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, id, "is in progress already");
    if (at < now) return Fault(request.seq(), mc::FAULT_CODE_LATE_OPERATION, id, "is older than our time");
  }
  for (int i = 0; i < count; ++i) {
    int64_t at = given.at_ps_size() ? given.at_ps(i) : 0;
    uint64_t id = given.op_id_size() ? given.op_id(i) : 0;
    int64_t start = std::max(at, free);
    double size = double(given.value(i)) * (templates[given.template_id(i)] == "copy" ? 2 : 1);
    // As `bandwidth-latency` computes and rounds it, halves to even: another order, or rounding, is another picosecond.
    int64_t took = std::llrint(latency_ns * 1000 + size / (bandwidth_gb_s * 1e9) * 1e12);
    free = start + std::max<int64_t>(1, took);
    queue.push_back({id, start, free});
    open.insert(id);
  }
  mc::SimulateResponse answer;
  answer.set_seq(request.seq());
  mc::Advanced* advanced = answer.mutable_advanced();
  int64_t reached = request.grant_ps();
  while (!queue.empty() && queue.front().finish <= request.grant_ps()) {
    Done done = queue.front();
    queue.pop_front();
    open.erase(done.id);
    Complete(advanced, done.id, done.start, done.finish);
    if (request.stop_at_first_completion()) {
      reached = done.finish;
      break;
    }
  }
  now = std::max(now, reached);
  advanced->set_reached_ps(now);
  if (!queue.empty()) advanced->set_next_event_ps(queue.front().finish);
  return answer;
}

class MemoryQueue final : public Host<Session> {
  Status Describe(ServerContext*, const mc::DescribeRequest*, mc::DescribeResponse* answer) override {
    answer->set_name("memory-queue");
    answer->set_kind("memory");
    answer->set_version("1");
    answer->set_time_policy(mc::TIME_POLICY_CONSERVATIVE);
    for (const std::string& kind : kKinds) answer->add_op_kinds(kind);
    answer->set_memoryless(true);
    answer->set_deterministic(true);
    answer->set_max_batch_ops(kMaxBatch);
    answer->set_summary("latency + bytes / bandwidth behind one queue, in C++");
    auto& schema = *answer->mutable_config_schema()->mutable_fields();
    schema["type"].set_string_value("object");
    auto& properties = *schema["properties"].mutable_struct_value()->mutable_fields();
    for (const char* name : {"bandwidth_gb_s", "latency_ns"})
      (*properties[name].mutable_struct_value()->mutable_fields())["type"].set_string_value("number");
    return Status::OK;
  }

  Status Configure(ServerContext*, const mc::ConfigureRequest* request, mc::ConfigureResponse* answer) override {
    auto session = std::make_shared<Session>();
    double bandwidth = 0, latency = -1;
    for (const auto& [name, value] : request->config().fields()) {
      if (name == "bandwidth_gb_s") bandwidth = value.number_value();
      else if (name == "latency_ns") latency = value.number_value();
      else return Wrong(name, "unknown key; known: bandwidth_gb_s, latency_ns");
    }
    if (!(bandwidth > 0)) return Wrong("bandwidth_gb_s", "must be greater than 0");
    if (!(latency >= 0)) return Wrong("latency_ns", "must be 0 or more");
    session->bandwidth_gb_s = bandwidth;
    session->latency_ns = latency;
    for (const auto& given : request->templates()) {
      if (!kKinds.count(given.kind()))
        return Refuse("{\"component\": \"memory-queue\", \"template\": " + std::to_string(given.id()) +
                      ", \"why\": \"it does copy, read, write\"}");
      session->templates[given.id()] = given.kind();
    }
    return Keep(*request, session, answer);
  }
};

}  // namespace

int main(int count, char** given) {
  MemoryQueue service;
  return Serve(service, "memory-queue", count, given);
}
