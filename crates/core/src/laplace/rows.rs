//! The rows of a generalised model, in the order of the leading factor's levels, and the passes over them.
//!
//! Sorted like this, levels are ranges of rows: tasks own whole levels, and no sum depends on the number of threads.

use super::Data;
use crate::batch::by_batches;
use crate::cross::Cross;
use crate::error::Error;
use crate::family::Second;
use crate::term::{TermShape, merge};
use rayon::prelude::*;

/// Rows per task, about; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 4096;

/// Standardised columns of a grouping factor at all rows, with the node of each row's level.
#[derive(Debug, Clone)]
pub struct FactorRows {
    /// Columns per level.
    pub k: usize,
    /// n x k, row-major.
    pub z: Vec<f64>,
    /// Node of each row's level.
    pub node: Vec<u32>,
    /// Level of each row.
    pub codes: Vec<i32>,
}

/// Two grouping factors: where each row's pair of levels is stored among the off-diagonal blocks.
#[derive(Debug, Clone)]
struct Pair {
    first: usize,
    second: usize,
    at: Vec<usize>,
}

/// An auxiliary predictor with its own copy of the columns.
#[derive(Debug, Clone)]
pub struct OwnAux {
    /// Which gamma, times which column (None: ones).
    pub columns: Vec<(usize, Option<Vec<f64>>)>,
    offset: Option<Vec<f64>>,
}

/// Whole levels of the leading factor, and their rows.
#[derive(Debug, Clone)]
struct Block {
    nodes: (usize, usize),
    rows: (usize, usize),
}

/// All that does not depend on the response.
#[derive(Debug, Clone)]
pub struct Table {
    /// Rows.
    pub n: usize,
    /// Row i here is the caller's row `order[i]`; None where they are the same.
    order: Option<Vec<u32>>,
    /// Multiply the log-likelihood of a row.
    pub weights: Option<Vec<f64>>,
    /// Known part of eta.
    pub offset: Option<Vec<f64>>,
    /// Kept columns of X in their working basis, n x p.
    pub x: Vec<f64>,
    /// Auxiliary predictors.
    pub aux: Vec<OwnAux>,
    /// Grouping factors, the leading one first.
    pub factors: Vec<FactorRows>,
    pairs: Vec<Pair>,
    blocks: Vec<Block>,
}

impl Table {
    /// Copies the rows; `x` is the fixed part in its working basis.
    pub fn new(data: &Data<'_>, x: &[f64], cross: &Cross) -> Result<Table, Error> {
        let n = data.y.len();
        let (given, _) = merge(&data.terms, None, n)?;
        let order = given.first().and_then(|leading| sorted(leading.codes));
        let mut table = Table {
            n,
            order,
            weights: None,
            offset: None,
            x: Vec::with_capacity(x.len()),
            aux: Vec::new(),
            factors: Vec::with_capacity(given.len()),
            pairs: Vec::new(),
            blocks: Vec::new(),
        };
        table.weights = data.weights.map(|w| table.sort(w));
        table.offset = data.offset.map(|o| table.sort(o));
        for column in x.chunks_exact(n.max(1)) {
            table.x.extend(table.sort(column));
        }
        for aux in &data.aux {
            let columns = aux.columns.iter().map(|(g, c)| (*g, c.map(|c| table.sort(c)))).collect();
            table.aux.push(OwnAux { columns, offset: aux.offset.map(|o| table.sort(o)) });
        }
        for (f, factor) in given.iter().enumerate() {
            let k = factor.k;
            let mut z = vec![0.0; n * k];
            by_batches(n, k, |part, values| factor.apply(part, values), |i, a, v| z[i * k + a] = v);
            if let Some(order) = &table.order {
                z = order.iter().flat_map(|i| &z[*i as usize * k..][..k]).copied().collect();
            }
            let codes = table.sort(factor.codes);
            let node = codes.iter().map(|code| cross.node_of[f][*code as usize]).collect();
            table.factors.push(FactorRows { k, z, node, codes });
        }
        table.pair_up(cross);
        table.divide(cross.n_leading);
        Ok(table)
    }

    fn pair_up(&mut self, c: &Cross) {
        for first in 0..self.factors.len() {
            for second in first + 1..self.factors.len() {
                let place = |i: usize| {
                    let (a, b) = (self.factors[first].node[i], self.factors[second].node[i]);
                    let (e, s) = (a.min(b) as usize, a.max(b));
                    let list = c.nbr_ptr[e]..c.nbr_ptr[e + 1];
                    let found = c.nbr[list.clone()].binary_search(&s).unwrap_or(0);
                    c.val_ptr[e] + c.col[list.start + found] as usize
                };
                self.pairs.push(Pair { first, second, at: (0..self.n).map(place).collect() });
            }
        }
    }

    fn divide(&mut self, n_leading: usize) {
        let Some(leading) = self.factors.first() else { return };
        let (mut from, mut node) = (0, 0);
        for i in 1..=self.n {
            let ends = i == self.n || leading.node[i] != leading.node[i - 1];
            if ends && (i - from >= CHUNK || i == self.n) {
                let to = if i == self.n { n_leading } else { leading.node[i - 1] as usize + 1 };
                self.blocks.push(Block { nodes: (node, to), rows: (from, i) });
                (from, node) = (i, to);
            }
        }
    }

    /// From the caller's order to this one.
    pub fn sort<T: Copy>(&self, values: &[T]) -> Vec<T> {
        match &self.order {
            Some(order) => order.iter().map(|i| values[*i as usize]).collect(),
            None => values.to_vec(),
        }
    }

    /// Back to the caller's order.
    #[must_use]
    pub fn unsort(&self, values: &[f64]) -> Vec<f64> {
        let Some(order) = &self.order else { return values.to_vec() };
        let mut out = vec![0.0; values.len()];
        order.iter().zip(values).for_each(|(i, v)| out[*i as usize] = *v);
        out
    }

    /// Fills one value a row.
    pub fn each(&self, out: &mut Vec<f64>, value: impl Fn(usize) -> f64 + Sync) {
        out.resize(self.n, 0.0);
        let chunk = |(c, out): (usize, &mut [f64])| {
            out.iter_mut().enumerate().for_each(|(i, v)| *v = value(c * CHUNK + i));
        };
        if self.n > CHUNK {
            out.par_chunks_mut(CHUNK).enumerate().for_each(chunk);
        } else {
            chunk((0, out));
        }
    }

    /// Sums one value a row.
    pub fn sum(&self, value: impl Fn(usize) -> f64 + Sync) -> f64 {
        let chunk = |c: usize| -> f64 { (c * CHUNK..self.n.min((c + 1) * CHUNK)).map(&value).sum() };
        if self.n > CHUNK {
            (0..self.n.div_ceil(CHUNK)).into_par_iter().map(chunk).collect::<Vec<f64>>().iter().sum()
        } else {
            chunk(0)
        }
    }

    /// X~ beta~ + offset.
    pub fn fixed_part(&self, beta: &[f64]) -> Vec<f64> {
        let mut eta = self.offset.clone().unwrap_or_else(|| vec![0.0; self.n]);
        for (column, v) in self.x.chunks_exact(self.n.max(1)).zip(beta) {
            eta.iter_mut().zip(column).for_each(|(s, x)| *s += v * x);
        }
        eta
    }

    /// Auxiliary linear predictors.
    pub fn auxiliary(&self, gamma: &[f64]) -> Vec<Vec<f64>> {
        let one = |aux: &OwnAux| {
            let mut out = aux.offset.clone().unwrap_or_else(|| vec![0.0; self.n]);
            for (g, column) in &aux.columns {
                match column {
                    Some(values) => out.iter_mut().zip(values).for_each(|(s, v)| *s += gamma[*g] * v),
                    None => out.iter_mut().for_each(|s| *s += gamma[*g]),
                }
            }
            out
        };
        self.aux.iter().map(one).collect()
    }

    /// Standardised columns of one term, n values each.
    pub fn columns_of(&self, term: &TermShape) -> Vec<Vec<f64>> {
        let factor = &self.factors[term.factor];
        let column = |j: usize| factor.z.iter().skip(term.offset + j).step_by(factor.k).copied().collect();
        (0..term.structure.k).map(column).collect()
    }

    /// Z b for b in q-space.
    pub fn random_part(&self, c: &Cross, b: &[f64], out: &mut Vec<f64>) {
        self.each(out, |i| {
            let mut sum = 0.0;
            for factor in &self.factors {
                let (k, first) = (factor.k, c.q[factor.node[i] as usize]);
                let (z, b) = (&factor.z[i * k..(i + 1) * k], &b[first..first + k]);
                sum += z.iter().zip(b).map(|(z, b)| z * b).sum::<f64>();
            }
            sum
        });
    }

    /// Z'r in q-space.
    pub fn pull(&self, c: &Cross, r: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; c.n_random()];
        if self.factors.is_empty() {
            return out;
        }
        let (own, later) = out.split_at_mut(c.q[c.n_leading]);
        let leading = |out: &mut [f64], block: &Block| {
            let factor = &self.factors[0];
            for i in block.rows.0..block.rows.1 {
                let at = (factor.node[i] as usize - block.nodes.0) * factor.k;
                for a in 0..factor.k {
                    out[at + a] += factor.z[i * factor.k + a] * r[i];
                }
            }
        };
        let mut tasks = Vec::with_capacity(self.blocks.len());
        let (mut rest, k) = (own, self.factors[0].k);
        for block in &self.blocks {
            let (mine, after) = rest.split_at_mut((block.nodes.1 - block.nodes.0) * k);
            tasks.push((mine, block));
            rest = after;
        }
        let mut others = || {
            let first = c.q[c.n_leading];
            for factor in &self.factors[1..] {
                for (i, z) in factor.z.chunks_exact(factor.k).enumerate() {
                    let at = c.q[factor.node[i] as usize] - first;
                    later[at..at + factor.k].iter_mut().zip(z).for_each(|(s, z)| *s += z * r[i]);
                }
            }
        };
        if tasks.len() > 1 {
            rayon::join(|| tasks.into_par_iter().for_each(|(out, block)| leading(out, block)), others);
        } else {
            tasks.into_iter().for_each(|(out, block)| leading(out, block));
            others();
        }
        out
    }

    /// `Z'WZ` and `Z'(W zb + d1)` into the cross-products; `w` takes the weights, raised to zero if asked for.
    pub fn weigh(&self, cross: &mut Cross, rows: &[Second], zb: &[f64], raise: bool, w: &mut Vec<f64>) {
        self.each(w, |i| if raise { (-rows[i].d2).max(0.0) } else { -rows[i].d2 });
        if self.factors.is_empty() {
            return;
        }
        let w: &[f64] = w;
        let mut r = Vec::new();
        self.each(&mut r, |i| w[i] * zb[i] + rows[i].d1);
        cross.diag.fill(0.0);
        cross.val.fill(0.0);
        let (d, val_ptr, lead) = (&cross.d, &cross.val_ptr, cross.n_leading);
        let (own_d, later_d) = cross.diag.split_at_mut(d[lead]);
        let (own_v, later_v) = cross.val.split_at_mut(val_ptr[lead]);
        let mut tasks = Vec::with_capacity(self.blocks.len());
        let (mut rest_d, mut rest_v) = (own_d, own_v);
        for block in &self.blocks {
            let (from, to) = block.nodes;
            let (mine_d, after_d) = rest_d.split_at_mut(d[to] - d[from]);
            let (mine_v, after_v) = rest_v.split_at_mut(val_ptr[to] - val_ptr[from]);
            tasks.push((mine_d, mine_v, block));
            (rest_d, rest_v) = (after_d, after_v);
        }
        let leading = |diag: &mut [f64], val: &mut [f64], block: &Block| {
            let part = block.rows.0..block.rows.1;
            let first = d[block.nodes.0];
            outer(&self.factors[0], part.clone(), w, diag, |e| d[e] - first);
            for pair in self.pairs.iter().filter(|p| p.first == 0) {
                self.join(pair, part.clone(), w, val, val_ptr, val_ptr[block.nodes.0]);
            }
        };
        let mut others = || {
            for factor in &self.factors[1..] {
                outer(factor, 0..self.n, w, later_d, |e| d[e] - d[lead]);
            }
            for pair in self.pairs.iter().filter(|p| p.first > 0) {
                self.join(pair, 0..self.n, w, later_v, val_ptr, val_ptr[lead]);
            }
        };
        if tasks.len() > 1 {
            rayon::join(|| tasks.into_par_iter().for_each(|(d, v, block)| leading(d, v, block)), others);
        } else {
            tasks.into_iter().for_each(|(d, v, block)| leading(d, v, block));
            others();
        }
        let zr = self.pull(cross, &r);
        respond(cross, &zr);
        cross.densify();
    }

    /// Adds the blocks of two factors; `val` begins at entry `first` of the cross-products' values.
    fn join(
        &self,
        pair: &Pair,
        part: std::ops::Range<usize>,
        w: &[f64],
        val: &mut [f64],
        val_ptr: &[usize],
        first: usize,
    ) {
        let (f, g) = (&self.factors[pair.first], &self.factors[pair.second]);
        for i in part {
            let (a, b) = (f.node[i], g.node[i]);
            let (own, other) = if a < b { (f, g) } else { (g, f) };
            let e = a.min(b) as usize;
            let width = (val_ptr[e + 1] - val_ptr[e]) / own.k;
            for x in 0..own.k {
                let v = w[i] * own.z[i * own.k + x];
                let at = pair.at[i] - first + x * width;
                for y in 0..other.k {
                    val[at + y] += v * other.z[i * other.k + y];
                }
            }
        }
    }

    /// `z_i'K z_i` from the diagonal blocks of K and those of pairs of factors.
    pub fn leverages(&self, cross: &Cross, blocks: &[f64], pairs: &[f64]) -> Vec<f64> {
        let mut out = Vec::new();
        self.each(&mut out, |i| {
            let mut sum = 0.0;
            for factor in &self.factors {
                let k = factor.k;
                let (z, block) = (&factor.z[i * k..(i + 1) * k], &blocks[cross.d[factor.node[i] as usize]..]);
                for b in 0..k {
                    sum += z[b] * (0..k).map(|a| z[a] * block[a + b * k]).sum::<f64>();
                }
            }
            for pair in &self.pairs {
                let (f, g) = (&self.factors[pair.first], &self.factors[pair.second]);
                let (a, b) = (f.node[i], g.node[i]);
                let (own, other) = if a < b { (f, g) } else { (g, f) };
                let e = a.min(b) as usize;
                let width = (cross.val_ptr[e + 1] - cross.val_ptr[e]) / own.k;
                for x in 0..own.k {
                    let at = pair.at[i] + x * width;
                    let dot: f64 = (0..other.k).map(|y| pairs[at + y] * other.z[i * other.k + y]).sum();
                    sum += 2.0 * own.z[i * own.k + x] * dot;
                }
            }
            sum
        });
        out
    }
}

/// Adds `w z z'` to the diagonal blocks of a factor's levels.
fn outer(
    factor: &FactorRows,
    part: std::ops::Range<usize>,
    w: &[f64],
    diag: &mut [f64],
    at: impl Fn(usize) -> usize,
) {
    let k = factor.k;
    for i in part {
        let first = at(factor.node[i] as usize);
        let (d, z) = (&mut diag[first..first + k * k], &factor.z[i * k..(i + 1) * k]);
        for b in 0..k {
            let v = w[i] * z[b];
            for a in 0..k {
                d[a + b * k] += v * z[a];
            }
        }
    }
}

/// Another right-hand side for the same matrix.
pub fn respond(cross: &mut Cross, zr: &[f64]) {
    cross.xy.copy_from_slice(zr);
    // Larger than any sum of squares it is compared with: only the last pivot sees it.
    cross.xx = vec![1e200];
    if let Some(dense) = &mut cross.dense {
        let rows = cross.q[cross.n_leading];
        let width = dense.len() / rows.max(1);
        (0..rows).for_each(|r| dense[(r + 1) * width - 1] = zr[r]);
    }
}

/// A stable order of the rows by level; None when they are in order.
fn sorted(codes: &[i32]) -> Option<Vec<u32>> {
    if codes.is_sorted() {
        return None;
    }
    let most = codes.iter().max().map_or(0, |m| *m as usize + 1);
    let mut next = vec![0u32; most + 1];
    codes.iter().for_each(|c| next[*c as usize + 1] += 1);
    for l in 0..most {
        next[l + 1] += next[l];
    }
    let mut out = vec![0; codes.len()];
    for (i, c) in codes.iter().enumerate() {
        out[next[*c as usize] as usize] = i as u32;
        next[*c as usize] += 1;
    }
    Some(out)
}
