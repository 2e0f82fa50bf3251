// A component in C++: a memory with one first-come-first-served queue, `latency + bytes / bandwidth` each.
//
// It has a clock (CONSERVATIVE): it is granted time, completes what ends within the grant, and says when the
// next operation will end. The rules are in docs/coupling.md; `metronome conformance` checks them.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cmath>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "metronome/component/v1/component.grpc.pb.h"

namespace mc = metronome::component::v1;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

namespace {

const std::set<std::string> kKinds = {"read", "write", "copy"};
constexpr uint64_t kMaxBatch = 20000;

struct Done {
  uint64_t id;
  int64_t start, finish;
};

struct Session {
  double bandwidth_gb_s = 0, latency_ns = 0;
  std::map<uint32_t, std::string> templates;
  int64_t now = 0, free = 0;
  std::deque<Done> queue;  // in order of their ends
  std::set<uint64_t> open;
  mc::SimulateResponse last;  // given again for a repeated message
  std::mutex lock;
};

Status Refuse(const std::string& json) { return Status(StatusCode::INVALID_ARGUMENT, json); }

Status Wrong(const std::string& field, const std::string& allowed) {
  return Refuse("{\"field\": \"" + field + "\", \"value\": null, \"allowed\": \"" + allowed + "\"}");
}

mc::SimulateResponse Fault(uint64_t seq, mc::FaultCode code, uint64_t id, const std::string& why) {
  mc::SimulateResponse answer;
  answer.set_seq(seq);
  answer.mutable_fault()->set_code(code);
  answer.mutable_fault()->add_op_id(id);
  answer.mutable_fault()->set_message(why);
  answer.mutable_fault()->set_session_usable(true);
  return answer;
}

mc::SimulateResponse Advance(Session& session, const mc::SimulateRequest& request) {
  const mc::Operations& given = request.operations();
  int count = given.template_id_size();
  if (uint64_t(count) > kMaxBatch) return Fault(request.seq(), mc::FAULT_CODE_OVERLOAD, 0, "too many operations at once");
  std::set<uint64_t> fresh;
  for (int i = 0, value = 0; i < count; value += given.value_count(i), ++i) {  // all are checked before any is taken
    uint64_t id = given.op_id_size() ? given.op_id(i) : 0;
    int64_t at = given.at_ps_size() ? given.at_ps(i) : 0;
    if (!session.templates.count(given.template_id(i)))
      return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, id, "its template was never declared");
    if (given.value_count(i) != 1 || given.value(value) < 0)
      return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, id, "an operation takes its bytes, not negative");
    if (session.open.count(id) || !fresh.insert(id).second)
      return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, id, "is in progress already");
    if (at < session.now) return Fault(request.seq(), mc::FAULT_CODE_LATE_OPERATION, id, "is older than our time");
  }
  for (int i = 0; i < count; ++i) {
    int64_t at = given.at_ps_size() ? given.at_ps(i) : 0;
    uint64_t id = given.op_id_size() ? given.op_id(i) : 0;
    int64_t start = std::max(at, session.free);
    double size = double(given.value(i)) * (session.templates[given.template_id(i)] == "copy" ? 2 : 1);
    // As `bandwidth-latency` computes and rounds it, halves to even: another order, or rounding, is another picosecond.
    int64_t took = std::llrint(session.latency_ns * 1000 + size / (session.bandwidth_gb_s * 1e9) * 1e12);
    session.free = start + std::max<int64_t>(1, took);
    session.queue.push_back({id, start, session.free});
    session.open.insert(id);
  }
  mc::SimulateResponse answer;
  answer.set_seq(request.seq());
  mc::Advanced* advanced = answer.mutable_advanced();
  int64_t reached = request.grant_ps();
  while (!session.queue.empty() && session.queue.front().finish <= request.grant_ps()) {
    Done done = session.queue.front();
    session.queue.pop_front();
    session.open.erase(done.id);
    advanced->mutable_completions()->add_op_id(done.id);
    advanced->mutable_completions()->add_start_ps(done.start);
    advanced->mutable_completions()->add_finish_ps(done.finish);
    advanced->mutable_completions()->add_provenance(mc::PROVENANCE_MODELLED);
    if (request.stop_at_first_completion()) {
      reached = done.finish;
      break;
    }
  }
  session.now = std::max(session.now, reached);
  advanced->set_reached_ps(session.now);
  if (!session.queue.empty()) advanced->set_next_event_ps(session.queue.front().finish);
  return answer;
}

class MemoryQueue final : public mc::ComponentService::Service {
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
    if (request->session_id().empty()) return Refuse("session_id is empty");
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
    std::lock_guard<std::mutex> guard(lock_);
    if (!request->validate_only() && !sessions_.emplace(request->session_id(), session).second)
      return Status(StatusCode::FAILED_PRECONDITION, "this session is configured already");
    answer->set_config_digest(std::to_string(std::hash<std::string>()(request->config().DebugString())));
    return Status::OK;
  }

  Status Simulate(ServerContext*, grpc::ServerReaderWriter<mc::SimulateResponse, mc::SimulateRequest>* stream) override {
    std::shared_ptr<Session> session;
    mc::SimulateRequest request;
    while (stream->Read(&request)) {
      if (!session) {
        std::lock_guard<std::mutex> guard(lock_);
        auto found = sessions_.find(request.session_id());
        if (found == sessions_.end()) return Status(StatusCode::FAILED_PRECONDITION, "no such session: Configure first");
        session = found->second;
      }
      std::lock_guard<std::mutex> guard(session->lock);
      if (!session->last.seq() || session->last.seq() != request.seq()) session->last = Advance(*session, request);
      if (!stream->Write(session->last)) break;
    }
    return Status::OK;
  }

  Status Close(ServerContext*, const mc::CloseRequest* request, mc::CloseResponse* answer) override {
    std::lock_guard<std::mutex> guard(lock_);
    answer->mutable_statistics();
    return sessions_.erase(request->session_id()) ? Status::OK : Status(StatusCode::FAILED_PRECONDITION, "no such session");
  }

  std::mutex lock_;
  std::map<std::string, std::shared_ptr<Session>> sessions_;
};

}  // namespace

// Serves on the address that is given (unix:PATH), else on a socket of its own.
int main(int count, char** given) {
  std::string listen = count > 1 ? given[1] : "unix:/tmp/memory-queue." + std::to_string(getpid()) + ".sock";
  if (listen.rfind("unix:", 0) != 0) {
    std::cerr << listen << ": not unix:PATH" << std::endl;
    return 2;
  }
  std::string socket = listen.substr(5);
  MemoryQueue service;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(listen, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) return 1;
  std::cout << "1|0|unix|" << socket << "|grpc" << std::endl;  // where we are; then only standard input's end matters
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
  server->Shutdown();
  unlink(socket.c_str());
  return 0;
}
