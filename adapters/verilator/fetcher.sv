// The array of `tile.sv` with a memory: it reads what it multiplies, line by line and ahead of its turn, and writes
// the products. It does `folds` tiles of a matrix product, `across` of them in a row of tiles.
//
// Operands lie in panels: SIZE rows of the first, SIZE columns of the second, SIZE bytes for each step of k, padded to
// whole lines. A tile's products are SIZE x SIZE words, one tile after the other. A line is 8 x SIZE bytes.
//
// Reads are answered in any order, by id. While operands are not there, zeros pass through the array: a bubble.
module fetcher #(
    parameter int SIZE = 8,
    parameter int SLOTS = 64               // lines that were asked for and are not used up; even
) (
    input  logic        clk,
    input  logic        start,             // takes what follows; whatever was under way is forgotten
    input  logic [31:0] k, folds, across,
    input  logic [47:0] first, second, products,   // where they lie

    output logic                     ar_valid,     // a line is asked for
    input  logic                     ar_ready,
    output logic [47:0]              ar_addr,
    output logic [$clog2(SLOTS)-1:0] ar_id,
    input  logic                     r_valid,      // and comes
    output logic                     r_ready,
    input  logic [$clog2(SLOTS)-1:0] r_id,
    input  logic [64*SIZE-1:0]       r_data,

    output logic                     w_valid,      // a line of products, with its address
    input  logic                     w_ready,
    output logic [47:0]              w_addr,
    output logic [64*SIZE-1:0]       w_data,
    input  logic                     b_valid,      // one is written
    output logic                     b_ready,

    output logic        done,                      // all is written
    output logic        fold_done,                 // a tile's products are on their way
    output logic        hungry,                    // operands are not there
    output logic        blocked,                   // the tile before has not left yet
    output logic        over                       // nothing is left but answers to writes
);
  localparam bit [47:0] LINE = 48'(8 * SIZE);      // bytes: eight steps of k
  localparam int OUT_LINES = SIZE / 2;             // of a tile's products
  localparam int S = $clog2(SLOTS);

  logic running;
  logic [31:0] lines;                              // of a panel
  assign lines = (k + 7) >> 3;

  // Asking: the lines of a tile's two panels in turn, tile after tile -----------------------------
  logic [31:0] ask_fold, ask_line, ask_column;
  logic [47:0] ask_first, ask_second;              // the panels
  logic ask_which;
  logic [S-1:0] ask_slot, slot;                    // the next to fill; the first to use
  logic [S:0] used;
  logic asks, takes_pair;

  assign ar_valid = running && ask_fold < folds && used < (S + 1)'(SLOTS);
  assign ar_id = ask_slot;
  assign ar_addr = (ask_which ? ask_second : ask_first) + 48'(ask_line) * LINE;
  assign asks = ar_valid && ar_ready;

  always_ff @(posedge clk) begin
    if (start) begin
      ask_fold <= 0;
      ask_line <= 0;
      ask_column <= 0;
      ask_first <= first;
      ask_second <= second;
      ask_which <= 0;
      ask_slot <= 0;
      used <= 0;
    end else begin
      used <= used + (asks ? 1 : 0) - (takes_pair ? 2 : 0);
      if (asks) begin
        ask_slot  <= ask_slot + 1;
        ask_which <= !ask_which;
        if (ask_which) begin
          if (ask_line + 1 < lines) ask_line <= ask_line + 1;
          else begin
            ask_line <= 0;
            ask_fold <= ask_fold + 1;
            if (ask_column + 1 < across) begin
              ask_column <= ask_column + 1;
              ask_second <= ask_second + 48'(lines) * LINE;
            end else begin
              ask_column <= 0;
              ask_second <= second;
              ask_first  <= ask_first + 48'(lines) * LINE;
            end
          end
        end
      end
    end
  end

  // Lines that have come --------------------------------------------------------------------------
  logic [64*SIZE-1:0] line[SLOTS];
  logic there[SLOTS];
  assign r_ready = 1;                              // each has its slot

  always_ff @(posedge clk) begin
    if (r_valid) line[r_id] <= r_data;
    for (int i = 0; i < SLOTS; i++) begin
      if (start || (takes_pair && (S'(i) == slot || S'(i) == slot + S'(1)))) there[i] <= 0;
      else if (r_valid && r_id == S'(i)) there[i] <= 1;
    end
    if (start) slot <= 0;
    else if (takes_pair) slot <= slot + 2;
  end

  // The array -------------------------------------------------------------------------------------
  typedef enum logic [2:0] {REST, BEGIN, STREAM, DRAIN, FULL} step_t;
  step_t step;
  logic [31:0] taken, bubbles, folds_left;
  logic have, tile_start, tile_done, leaves, out_free;
  logic [8*SIZE-1:0] a, b;
  logic [32*SIZE*SIZE-1:0] sums;

  assign have = there[slot] && there[slot+S'(1)];
  assign hungry = step == STREAM && !have;
  assign blocked = step == FULL;
  assign takes_pair = step == STREAM && have && (taken[2:0] == 7 || taken + 1 == k);
  assign leaves = ((step == DRAIN && tile_done) || step == FULL) && out_free;
  assign tile_start = step == BEGIN || (leaves && folds_left > 1);
  assign a = step == STREAM && have ? line[slot][taken[2:0]*8*SIZE+:8*SIZE] : '0;
  assign b = step == STREAM && have ? line[slot+S'(1)][taken[2:0]*8*SIZE+:8*SIZE] : '0;

  tile #(.R(SIZE), .C(SIZE)) array (
      .clk, .start(tile_start), .k(k + bubbles), .a, .b, .done(tile_done), .sums
  );

  always_ff @(posedge clk) begin
    fold_done <= leaves && !start;
    if (start) begin
      step <= BEGIN;
      folds_left <= folds;
    end else begin
      if (tile_start) begin
        step <= STREAM;
        taken <= 0;
        bubbles <= 0;
      end else if (leaves) step <= REST;
      else if (step == DRAIN && tile_done) step <= FULL;
      else if (step == STREAM && !have) bubbles <= bubbles + 1;
      else if (step == STREAM) begin
        taken <= taken + 1;
        if (taken + 1 == k) step <= DRAIN;
      end
      if (leaves) folds_left <= folds_left - 1;
    end
  end

  // Writing ---------------------------------------------------------------------------------------
  logic [32*SIZE*SIZE-1:0] out;
  logic [7:0] out_left;
  logic [15:0] unanswered;
  logic writes;

  assign w_valid = out_left != 0;
  assign w_data = out[64*SIZE-1:0];
  assign b_ready = 1;
  assign writes = w_valid && w_ready;
  assign out_free = out_left == 0 || (out_left == 1 && w_ready);
  assign over = running && step == REST && !w_valid && unanswered != 0;

  always_ff @(posedge clk) begin
    done <= 0;
    if (start) begin
      running <= 1;
      out_left <= 0;
      unanswered <= 0;
      w_addr <= products;
    end else begin
      unanswered <= unanswered + (writes ? 1 : 0) - (b_valid ? 1 : 0);
      if (writes) w_addr <= w_addr + LINE;
      if (leaves) begin
        out <= sums;
        out_left <= 8'(OUT_LINES);
      end else if (writes) begin
        out <= out >> (64 * SIZE);
        out_left <= out_left - 1;
      end
      if (running && step == REST && out_left == 0 && unanswered == 0) begin
        running <= 0;
        done <= 1;
      end
    end
  end
endmodule
