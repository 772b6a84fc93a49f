//! In which order the levels are eliminated, and where that will fill in.
//!
//! The leading factor comes first: its levels never share a row, so eliminating them costs nothing but the clique that
//! each leaves among its neighbours. What remains is eliminated by minimum degree while it stays sparse (the *chain*:
//! nested factors, weakly connected crossings) and becomes one dense matrix (the *tail*) as soon as that is cheaper.

use crate::term::Factor;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Remainders up to this many columns are always dense.
const SMALL_TAIL: usize = 400;

/// A remainder with this share of its possible edges is dense.
const DENSE_SHARE: f64 = 0.10;

/// Elimination order and later neighbours of every node.
#[derive(Debug)]
pub struct Plan {
    /// Node of each level of each factor.
    pub node_of: Vec<Vec<u32>>,
    /// Factor of each node.
    pub factor_of: Vec<u32>,
    /// Later neighbours, ascending, fill included.
    pub neighbours: Vec<Vec<u32>>,
    /// Nodes that are eliminated sparsely.
    pub n_sparse: usize,
}

/// Plans the elimination of all levels; `factors` come largest first.
#[must_use]
pub fn plan(factors: &[Factor<'_>]) -> Plan {
    let Some(leading) = factors.first() else {
        return Plan { node_of: vec![], factor_of: vec![], neighbours: vec![], n_sparse: 0 };
    };
    // Provisional numbers of the remaining levels: factor by factor.
    let mut first = vec![0usize; factors.len()];
    let mut rest = 0;
    for f in 1..factors.len() {
        first[f] = rest;
        rest += factors[f].n_levels;
    }
    let cliques = cliques(factors, &first);
    let columns = |r: usize| factors[owner(&first, r)].k;
    let dims: usize = (1..factors.len()).map(|f| factors[f].n_levels * factors[f].k).sum();
    let chain = if dims <= SMALL_TAIL { Vec::new() } else { eliminate(&cliques, rest, &columns) };

    // Final order: leading, chain, tail (in provisional order).
    let mut position = vec![u32::MAX; rest];
    let j0 = leading.n_levels;
    for (i, (r, _)) in chain.iter().enumerate() {
        position[*r as usize] = (j0 + i) as u32;
    }
    let n_sparse = j0 + chain.len();
    let mut next = n_sparse as u32;
    let mut order: Vec<u32> = chain.iter().map(|(r, _)| *r).collect();
    for r in 0..rest {
        if position[r] == u32::MAX {
            position[r] = next;
            next += 1;
            order.push(r as u32);
        }
    }
    let mut factor_of = vec![0u32; j0];
    factor_of.extend(order.iter().map(|r| owner(&first, *r as usize) as u32));
    let mut node_of = vec![(0..j0 as u32).collect::<Vec<u32>>()];
    for f in 1..factors.len() {
        node_of.push((0..factors[f].n_levels).map(|l| position[first[f] + l]).collect());
    }
    let sorted = |list: &[u32]| {
        let mut list: Vec<u32> = list.iter().map(|r| position[*r as usize]).collect();
        list.sort_unstable();
        list
    };
    let mut neighbours: Vec<Vec<u32>> = cliques.iter().map(|c| sorted(c)).collect();
    neighbours.extend(chain.iter().map(|(_, later)| sorted(later)));
    neighbours.extend(tail_pairs(factors, &node_of, n_sparse, next as usize));
    Plan { node_of, factor_of, neighbours, n_sparse }
}

/// The factor that owns provisional node `r`.
fn owner(first: &[usize], r: usize) -> usize {
    (1..first.len()).rev().find(|&f| first[f] <= r).unwrap_or(0)
}

/// For each leading level, the remaining levels that share a row with it.
fn cliques(factors: &[Factor<'_>], first: &[usize]) -> Vec<Vec<u32>> {
    let leading = &factors[0];
    let mut cliques = vec![Vec::new(); leading.n_levels];
    if factors.len() == 1 {
        return cliques;
    }
    for (f, factor) in factors.iter().enumerate().skip(1) {
        for (c, l) in leading.codes.iter().zip(factor.codes) {
            let r = (first[f] + *l as usize) as u32;
            let list: &mut Vec<u32> = &mut cliques[*c as usize];
            if list.last() != Some(&r) {
                list.push(r);
            }
        }
    }
    for list in &mut cliques {
        list.sort_unstable();
        list.dedup();
    }
    cliques
}

/// Minimum-degree elimination; returns eliminated nodes with the neighbours they had then.
fn eliminate(cliques: &[Vec<u32>], rest: usize, columns: &dyn Fn(usize) -> usize) -> Vec<(u32, Vec<u32>)> {
    let possible = rest as f64 * (rest as f64 - 1.0) / 2.0;
    let bound: f64 = cliques.iter().map(|c| (c.len() * c.len().saturating_sub(1) / 2) as f64).sum();
    let memory = (rest as f64).powi(2) * 8.0;
    if bound > 4.0 * DENSE_SHARE * possible && memory < 4e9 {
        return Vec::new();
    }
    let mut graph: Vec<Vec<u32>> = vec![Vec::new(); rest];
    for clique in cliques {
        for &r in clique {
            graph[r as usize].extend(clique.iter().filter(|s| **s != r));
        }
    }
    for list in &mut graph {
        list.sort_unstable();
        list.dedup();
    }
    let mut edges: f64 = graph.iter().map(|l| l.len() as f64).sum::<f64>() / 2.0;
    let mut heap: BinaryHeap<Reverse<(usize, u32)>> =
        graph.iter().enumerate().map(|(r, l)| Reverse((l.len(), r as u32))).collect();
    let mut gone = vec![false; rest];
    let mut left = rest;
    let mut left_columns: usize = (0..rest).map(columns).sum();
    let mut chain = Vec::new();
    while let Some(Reverse((degree, r))) = heap.pop() {
        let at = r as usize;
        if gone[at] || degree != graph[at].len() {
            continue;
        }
        let share = edges / (left as f64 * (left as f64 - 1.0) / 2.0).max(1.0);
        if (left_columns <= SMALL_TAIL || share > DENSE_SHARE) && degree > 0 {
            break;
        }
        gone[at] = true;
        left -= 1;
        left_columns -= columns(at);
        let later = std::mem::take(&mut graph[at]);
        edges -= later.len() as f64;
        for &s in &later {
            let old = std::mem::take(&mut graph[s as usize]);
            let before = old.len();
            let merged = union(&old, &later, r, s);
            edges += (merged.len() as f64 - (before as f64 - 1.0)) / 2.0;
            heap.push(Reverse((merged.len(), s)));
            graph[s as usize] = merged;
        }
        chain.push((r, later));
    }
    chain
}

/// Sorted union of two sorted lists without `a` and `b`.
fn union(x: &[u32], y: &[u32], a: u32, b: u32) -> Vec<u32> {
    let mut out = Vec::with_capacity(x.len() + y.len());
    let (mut i, mut j) = (0, 0);
    while i < x.len() || j < y.len() {
        let v = match (x.get(i), y.get(j)) {
            (Some(u), Some(v)) if u == v => {
                j += 1;
                i += 1;
                *u
            }
            (Some(u), Some(v)) if u < v => {
                i += 1;
                *u
            }
            (Some(u), None) => {
                i += 1;
                *u
            }
            (_, Some(v)) => {
                j += 1;
                *v
            }
            (None, None) => break,
        };
        if v != a && v != b {
            out.push(v);
        }
    }
    out
}

/// Pairs of tail nodes that share a row (two or more remaining factors): later neighbours of each tail node.
fn tail_pairs(factors: &[Factor<'_>], node_of: &[Vec<u32>], n_sparse: usize, nodes: usize) -> Vec<Vec<u32>> {
    let mut pairs = vec![Vec::new(); nodes - n_sparse];
    for f in 1..factors.len() {
        for g in f + 1..factors.len() {
            for (a, b) in factors[f].codes.iter().zip(factors[g].codes) {
                let (r, s) = (node_of[f][*a as usize], node_of[g][*b as usize]);
                let (r, s) = (r.min(s), r.max(s));
                if r as usize >= n_sparse {
                    pairs[r as usize - n_sparse].push(s);
                }
            }
        }
    }
    for list in &mut pairs {
        list.sort_unstable();
        list.dedup();
    }
    pairs
}
