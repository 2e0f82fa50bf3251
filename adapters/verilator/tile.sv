// An output-stationary systolic array for int8: rows of A enter from the left, columns of B from above, each one
// cycle later than the one before; every cell multiplies what passes through it and keeps the sum.
module tile #(
    parameter int R = 8,
    parameter int C = 8
) (
    input  logic            clk,
    input  logic            start,       // clears the sums; the first values are taken in the next cycle
    input  logic [31:0]     k,           // length of the products
    input  logic [8*R-1:0]  a,           // column t of A in cycle t, one byte a row
    input  logic [8*C-1:0]  b,           // row t of B in cycle t
    output logic            done,        // the last cell has its last product
    output logic [32*R*C-1:0] sums
);
  logic [31:0] cycle;
  logic busy;
  logic signed [7:0] late_a[R][R], late_b[C][C];     // row r waits r cycles, column c waits c
  logic signed [7:0] right[R][C], down[R][C];        // what each cell passes on
  logic signed [31:0] sum[R][C];
  logic signed [7:0] in_a[R][C], in_b[R][C];

  always_comb begin
    for (int r = 0; r < R; r++)
      for (int c = 0; c < C; c++) begin
        in_a[r][c] = c > 0 ? right[r][c-1] : r > 0 ? late_a[r][r-1] : feed_a(0);
        in_b[r][c] = r > 0 ? down[r-1][c] : c > 0 ? late_b[c][c-1] : feed_b(0);
        sums[32*(r*C+c)+:32] = sum[r][c];
      end
  end

  function automatic logic signed [7:0] feed_a(int r);
    return cycle < k ? a[8*r+:8] : 8'sd0;
  endfunction

  function automatic logic signed [7:0] feed_b(int c);
    return cycle < k ? b[8*c+:8] : 8'sd0;
  endfunction

  always_ff @(posedge clk) begin
    done <= 0;
    if (start) begin
      busy  <= 1;
      cycle <= 0;
      for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) begin
          sum[r][c] <= 0;
          right[r][c] <= 0;
          down[r][c] <= 0;
        end
      for (int r = 0; r < R; r++) for (int i = 0; i < R; i++) late_a[r][i] <= 0;
      for (int c = 0; c < C; c++) for (int i = 0; i < C; i++) late_b[c][i] <= 0;
    end else if (busy) begin
      cycle <= cycle + 1;
      for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) begin
          sum[r][c] <= sum[r][c] + in_a[r][c] * in_b[r][c];
          right[r][c] <= in_a[r][c];
          down[r][c] <= in_b[r][c];
        end
      for (int r = 0; r < R; r++) begin
        late_a[r][0] <= feed_a(r);
        for (int i = 1; i < R; i++) late_a[r][i] <= late_a[r][i-1];
      end
      for (int c = 0; c < C; c++) begin
        late_b[c][0] <= feed_b(c);
        for (int i = 1; i < C; i++) late_b[c][i] <= late_b[c][i-1];
      end
      if (cycle == k + R + C - 3) begin
        done <= 1;
        busy <= 0;
      end
    end
  end
endmodule
